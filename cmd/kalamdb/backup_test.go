package main

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kalamdb": main})
}

// TestScripts runs what a person types and compares what he sees. The variables URL and EMPTY lead to two nodes, of which the first has three
// rows; PLACE is an empty directory.
func TestScripts(t *testing.T) {
	t.Parallel()
	open := func() string {
		node, _ := openStandalone(t)
		t.Cleanup(func() {
			if failed := node.Close(context.WithoutCancel(t.Context())); failed != nil {
				t.Error(failed)
			}
		})
		return "http://" + node.APIAddr()
	}
	url, empty := open(), open()
	const password = "correct horse battery"
	threeRows(t, &sqlClient{url: url, user: "root", password: password})
	onceStarted(t, &sqlClient{url: empty, user: "root", password: password}, "SELECT count(*) FROM system.jobs")
	place := t.TempDir()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(env *testscript.Env) error {
		env.Setenv("HOME", env.WorkDir)
		env.Setenv("URL", url)
		env.Setenv("EMPTY", empty)
		env.Setenv("PLACE", place)
		env.Setenv("KALAMDB_PASSWORD", password)
		return nil
	}})
}

// TestExitCodesOfBackup pins the numbers that scripts look at.
func TestExitCodesOfBackup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want int
		args []string
	}{
		{exitUsage, []string{"backup"}},
		{exitUsage, []string{"restore", "a", "b"}},
		{exitUsage, []string{"restore", "--nonsense", "a"}},
		{exitFailure, []string{"backup", "--url", "http://127.0.0.1:1", "/a"}},
		{exitClean, []string{"restore", "--help"}},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), c.args, os.Getenv, &out, &errs); code != c.want {
			t.Errorf("%v: code %d, want %d; %s%s", c.args, code, c.want, &out, &errs)
		}
	}
}
