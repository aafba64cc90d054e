package linear

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/gofail/code"
)

// pointFiles are the sources with fail points, comments that begin with "gofail:", by package. The servers of the lab are built with
// them; every other build sees comments.
var pointFiles = map[string][]string{
	"backup":    {"internal/backup/step.go"},
	"flush":     {"internal/flush/flush.go"},
	"multiraft": {"internal/multiraft/apply.go"},
	"raftlog":   {"internal/multiraft/raftlog/write.go"},
}

// withPoints writes the sources with their fail points into a directory, and returns the overlay that puts them in place.
func withPoints(dir string) (overlay string, err error) {
	replace := map[string]string{}
	for pkg, files := range pointFiles {
		if err = bindPoints(dir, pkg, files, replace); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// bindPoints does so for the files of one package.
func bindPoints(dir, pkg string, files []string, replace map[string]string) error {
	var points []*code.Failpoint
	packageDir := ""
	for _, file := range files {
		path, err := filepath.Abs(filepath.Join("../..", file))
		if err != nil {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var changed bytes.Buffer
		found, err := code.ToFailpoints(&changed, bytes.NewReader(source))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("%s: %d fail points, %w", file, len(found), err)
		}
		points, packageDir = append(points, found...), filepath.Dir(path)
		replace[path] = filepath.Join(dir, pkg+"-"+filepath.Base(path))
		if err = os.WriteFile(replace[path], changed.Bytes(), 0o600); err != nil {
			return err
		}
	}
	added := filepath.Join(dir, pkg+"-points.go")
	replace[filepath.Join(packageDir, "points.fail.go")] = added
	var binding bytes.Buffer
	if err := code.NewBinding(pkg, points).Write(&binding); err != nil {
		return err
	}
	return os.WriteFile(added, binding.Bytes(), 0o600)
}

// setPoint says what a fail point of a running server does; "" makes it do nothing.
func (p *process) setPoint(point, term string) error {
	method := http.MethodPut
	if term == "" {
		method = http.MethodDelete
	}
	_, err := p.askPoint(method, point, term)
	return err
}

// countPoint returns how often a fail point that was set did something.
func (p *process) countPoint(point string) (int, error) {
	text, err := p.askPoint(http.MethodGet, point+"/count", "")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

func (p *process) askPoint(method, path, term string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.points+"/"+path, strings.NewReader(term))
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s", text)
	}
	if err != nil {
		return "", fmt.Errorf("%s of fail point %s of server %d with %q: %w", method, path, p.number, term, err)
	}
	return string(text), nil
}

// pointFaults happen at a step of a server, where a kill hits only by chance.
func pointFaults() []fault {
	return []fault{
		crashAt("crash in front of a write of the log", "logWrite"),
		crashAt("crash between a write of the log and its sync", "logSync"),
		crashAt("crash behind a sync of the log", "logSynced"),
		crashAt("crash in front of the commit of applied entries", "applyCommit"),
		crashAt("crash between the commit of applied entries and their answers", "applyCommitted"),
		stallAt("slow syncs", "logSync", func(random *rand.Rand) string { return fmt.Sprintf("sleep(%d)", 5+random.IntN(60)) }),
		stallAt("a sync that hangs", "logSync", func(random *rand.Rand) string { return fmt.Sprintf("1*sleep(%d)", 1500+random.IntN(1500)) }),
		stallAt("slow apply", "applyCommit", func(random *rand.Rand) string { return fmt.Sprintf("sleep(%d)", 5+random.IntN(60)) }),
	}
}

// crashAt ends a server at a step, after some more that go well.
func crashAt(name, point string) fault {
	return fault{name: name, hits: crashed, act: func(l *lab, victim int, random *rand.Rand) (func() error, error) {
		p := l.servers[victim-1]
		if err := l.servesPoints(p); err != nil {
			return nil, err
		}
		p.killed = true
		if err := p.setPoint(point, fmt.Sprintf("%d*off->panic", 1+random.IntN(50))); err != nil {
			return nil, err
		}
		select {
		case <-p.ended:
			return p.start, nil
		case <-time.After(patience):
			return nil, fmt.Errorf("server %d did not come to the point %s within %v", victim, point, patience)
		}
	}}
}

// stallAt makes a step of a server slow.
func stallAt(name, point string, term func(*rand.Rand) string) fault {
	hits := func(l *lab, victim int) (int, error) { return l.servers[victim-1].countPoint(point) }
	return fault{name: name, hits: hits, act: func(l *lab, victim int, random *rand.Rand) (func() error, error) {
		p := l.servers[victim-1]
		if err := l.servesPoints(p); err != nil {
			return nil, err
		}
		return func() error { return p.setPoint(point, "") }, p.setPoint(point, term(random))
	}}
}

// servesPoints waits until a server that was started a moment ago takes orders for its fail points.
func (l *lab) servesPoints(p *process) error {
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := p.ready(l.t.Context())
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || !p.running() {
			return err
		}
		<-ticker.C
	}
}
