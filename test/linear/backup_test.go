package linear

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

// Steps of a backup and of a restore at which a server dies.
var (
	backupSteps  = []string{"read", "chunk", "stored", "manifest", "written", "recorded"}
	restoreSteps = []string{"catalog", "begin", "rows", "check", "users", "restored"}
)

// TestKilledAtEveryStepOfBackupAndRestore ends the server that makes a backup at each step: what lies there by then is a whole backup or none,
// and the job makes one when the server is back. Then it ends servers that restore one, one at each step: all of them have
// all rows in the end, once.
func TestKilledAtEveryStepOfBackupAndRestore(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if path != builtWithPoints {
		t.Skip("the server was built without fail points")
	}
	l := newLabOf(t, path, true)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	admin := newTraffic(t, l, 1).newUser(20).Client
	if err := create(ctx, admin, "CREATE NAMESPACE lab", "CREATE TABLE lab.t (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')",
		coldRows("lab.t", 0), "STORAGE FLUSH TABLE lab.t"); err != nil {
		t.Fatal(err)
	}
	if err := jobsRest(ctx, admin, "flush"); err != nil {
		t.Fatal(err)
	}
	// Some rows are cold, some hot, one of them deleted; as readsOnce wants them.
	if err := create(ctx, admin, "UPDATE lab.t SET n = 1000 WHERE id < 10", "DELETE FROM lab.t WHERE id = 299"); err != nil {
		t.Fatal(err)
	}
	for i, step := range backupSteps {
		if step == "written" || step == "recorded" {
			// A job that died before and goes on would come to this step in the place of the one that is looked at.
			if err := jobsRest(ctx, admin, "backup"); err != nil {
				t.Fatal(err)
			}
		}
		l.dieInBackup(ctx, admin, l.place(i), step)
	}
	if err := jobsRest(ctx, admin, "backup"); err != nil {
		t.Fatal(err)
	}
	for i, step := range backupSteps {
		if backups, problem := l.verify(l.place(i)); problem != "" || backups == 0 {
			t.Errorf("killed at %q: there are %d backups in the end; %s", step, backups, problem)
		}
	}
	l.readsOnce(ctx, "lab.t", "FLUSH")
	l.endAndCheck()
	l.dieInRestores(ctx)
}

func (l *lab) place(i int) string { return filepath.Join(l.dir, "backups", backupSteps[i]) }

// verify verifies all backups of a place; the problem is empty when they are whole.
func (l *lab) verify(place string) (backups int, problem string) {
	names, err := filepath.Glob(filepath.Join(place, "backups", "*.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".json")
		if out, err := exec.CommandContext(l.t.Context(), l.servers[0].binary, "verify", "--backup", name, place).CombinedOutput(); err != nil {
			return len(names), fmt.Sprintf("backup %s: %v: %s", name, err, out)
		}
	}
	return len(names), ""
}

// dieInBackup lets the server that makes a backup die at a step, looks at what it has left, and starts it again.
func (l *lab) dieInBackup(ctx context.Context, admin *client.Client, place, step string) {
	l.t.Helper()
	l.setStep("backupStep", step)
	if err := create(ctx, admin, "BACKUP DATABASE TO '"+place+"'"); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.oneDies(ctx); err != nil {
		l.t.Fatalf("at %s: %v", step, err)
	}
	l.setStep("backupStep", "")
	backups, problem := l.verify(place)
	if problem != "" {
		l.t.Errorf("killed at %q: %s", step, problem)
	}
	if over := step == "written" || step == "recorded"; over != (backups > 0) {
		l.t.Errorf("killed at %q: there are %d backups", step, backups)
	}
	if err := errors.Join(l.startAll(), l.waitReady()); err != nil {
		l.t.Fatal(err)
	}
}

// setStep arms a fail point of all servers that run for a step, or disarms it.
func (l *lab) setStep(point, step string) {
	l.t.Helper()
	term := ""
	if step != "" {
		term = fmt.Sprintf("return(%q)", step)
	}
	for _, p := range l.servers {
		l.armStep(p, point, term)
	}
}

// dieInRestores starts a cluster of one server for each step, lets it die there in the middle of a restore, and starts it again. They wait for
// their claims to be over together.
func (l *lab) dieInRestores(ctx context.Context) {
	l.t.Helper()
	l.servers = nil
	addresses, err := loopback.Addresses(l.t.Context(), 3*len(restoreSteps))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range restoreSteps {
		rpc, api, points := addresses[3*i], addresses[3*i+1], addresses[3*i+2]
		dir := filepath.Join(l.dir, "restore-"+restoreSteps[i])
		p := &process{number: 1, binary: builtWithPoints, dir: dir, api: api, points: points, config: dir + ".toml", hurried: true}
		if err := p.configure(rpc, []map[string]any{{"node_id": 1, "rpc_addr": rpc, "api_addr": api}}); err != nil {
			l.t.Fatal(err)
		}
		l.servers = append(l.servers, p)
	}
	if err := errors.Join(l.startAll(), l.waitReady()); err != nil {
		l.t.Fatal(err)
	}
	statement := "RESTORE DATABASE FROM '" + l.place(len(backupSteps)-1) + "'"
	for i, p := range l.servers {
		l.armStep(p, "backupStep", fmt.Sprintf("return(%q)", restoreSteps[i]))
		if err := create(ctx, l.clientOf(p), statement); err != nil {
			l.t.Fatal(err)
		}
	}
	for i, p := range l.servers {
		select {
		case <-p.ended:
		case <-time.After(patience):
			l.t.Fatalf("the server does not die at %q", restoreSteps[i])
		}
	}
	if err := errors.Join(l.startAll(), l.waitReady()); err != nil {
		l.t.Fatal(err)
	}
	for i, p := range l.servers {
		if err := jobsRest(ctx, l.clientOf(p), "restore"); err != nil {
			l.t.Errorf("killed at %q: %v", restoreSteps[i], err)
		}
	}
	l.readsOnce(ctx, "lab.t", "FLUSH")
	for i, p := range l.servers {
		result, err := l.clientOf(p).Query(ctx, "SELECT count(*) FROM system.jobs WHERE job_type = 'restore' AND status = 'completed'")
		if err != nil || fmt.Sprint(result.Rows[0][0]) != "1" {
			l.t.Errorf("killed at %q: %v restores are completed, %v", restoreSteps[i], result, err)
		}
		if err := p.end(syscall.SIGTERM); err != nil {
			l.t.Error(err)
		}
	}
}

// clientOf speaks to one server.
func (l *lab) clientOf(p *process) *client.Client {
	l.t.Helper()
	c, err := client.New(client.Config{URLs: []string{p.url()}, User: "root", Password: password, Attempts: 20, Pause: 50 * time.Millisecond})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}
