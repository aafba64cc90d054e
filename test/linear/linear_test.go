package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// defaultPeriod is how long faults rage when FOR does not say otherwise.
const defaultPeriod = 60 * time.Second

// TestHistoriesUnderFaults runs all workloads under faults for as long as FOR says, from SEED or a new one.
func TestHistoriesUnderFaults(t *testing.T) {
	t.Parallel()
	period, seed := defaultPeriod, uint64(time.Now().UnixNano())
	var err error
	if text := os.Getenv("FOR"); text != "" {
		if period, err = time.ParseDuration(text); err != nil {
			t.Fatalf("FOR=%s: %v", text, err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED=%s: %v", text, err)
		}
	}
	server, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	v, dir := experiment(t, server, period, true, seed)
	if len(v.Found) == 0 {
		return
	}
	path, err := v.write(dir)
	if err != nil {
		t.Error(err)
	}
	for _, f := range v.Found {
		t.Errorf("%s: %s: %s", f.Workload, f.Kind, f.Text)
	}
	t.Logf("the report is %s", path)
}

func allWorkloads() []workload {
	return []workload{&registers{}, &elements{}, &bank{}, &lists{}, &counter{}, &streams{}}
}

// experiment runs everything once and judges it. If all is said, faults go on until each kind came, and each must have hit something.
// Kinds that are named are the only ones.
func experiment(t *testing.T, server string, period time.Duration, all bool, seed uint64, only ...string) (*verdict, string) {
	t.Helper()
	var err error
	v := &verdict{Seed: seed, Binary: server}
	t.Logf("seed %d, faults for %v", seed, period)
	l := newLab(t, server)
	l.only = only
	tr := newTraffic(t, l, seed)
	ctx, cancel := context.WithTimeout(t.Context(), period+8*patience)
	defer cancel()
	workloads := allWorkloads()
	if err = prepare(ctx, tr, workloads); err != nil {
		t.Fatal(err)
	}
	tr.start(ctx, workloads)
	v.Faults, err = rage(l, tr, period, all, rand.New(rand.NewPCG(seed, 1)))
	tr.halt()
	if err = errors.Join(err, l.calm(ctx, tr, workloads)); err != nil {
		v.Found = append(v.Found, finding{Workload: "servers", Kind: "not well", Text: err.Error()})
	}
	for _, text := range l.check() {
		v.Found = append(v.Found, finding{Workload: "files", Kind: "damage", Text: text})
	}
	if failure := v.collect(workloads, l.dir); failure != nil {
		t.Error(failure)
	}
	for _, line := range v.Workloads {
		t.Log(line)
	}
	lines, missing := tally(l.faults(), v.Faults)
	for _, line := range lines {
		t.Log(line)
	}
	if all && err == nil && len(missing) > 0 {
		t.Errorf("these faults have hit nothing: %v", missing)
	}
	t.Logf("%d faults: %v", len(v.Faults), v.Faults)
	return v, l.dir
}

// calm waits until every server is well, reads what is there, and ends them.
func (l *lab) calm(ctx context.Context, tr *traffic, workloads []workload) error {
	err := errors.Join(l.mendWires(), l.startAll(), l.waitReady())
	for _, w := range workloads {
		if failure := w.finish(ctx, tr); failure != nil {
			err = errors.Join(err, fmt.Errorf("%s: read what is there in the end: %w", w.name(), failure))
		}
	}
	for _, p := range l.servers {
		err = errors.Join(err, p.end(syscall.SIGTERM))
	}
	return err
}

func prepare(ctx context.Context, tr *traffic, workloads []workload) error {
	admin := tr.newUser(10)
	err := create(ctx, admin.Client, "CREATE NAMESPACE lab")
	for _, w := range workloads {
		if failure := w.prepare(ctx, admin.Client); failure != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", w.name(), failure))
		}
	}
	return err
}
