package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestWrongClusterCommandLines: an order that is not understood ends with the code of a wrong command line and a sentence, before any
// node is asked; nothing listens where these would ask.
func TestWrongClusterCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ line, says string }{
		{"cluster tranfser 3", `unknown command "tranfser" for "kalamdb cluster"`},
		{"cluster 3", `unknown command "3"`},
		{"cert node-cert", `unknown command "node-cert"`},
		{"bench rafts", `unknown command "rafts"`},
		{"cluster status now", `unknown command "now" for "kalamdb cluster status"`},
		{"cluster status --group 10", "unknown flag: --group; see kalamdb cluster status --help"},
		{"cluster init 3", "kalamdb cluster init --help"},
		{"cluster init --timeout soon", `invalid argument "soon" for "--timeout"`},
		{"cluster add-node", "accepts between 2 and 3 arg(s), received 0"},
		{"cluster add-node 4", "received 1; see kalamdb cluster add-node --help"},
		{"cluster add-node four 127.0.0.1:1", `"four" is no number of a node`},
		{"cluster remove-node", "accepts 1 arg(s), received 0; see kalamdb cluster remove-node --help"},
		{"cluster remove-node 0", `"0" is no number of a node`},
		{"cluster remove-node 1 2", "accepts 1 arg(s), received 2"},
		{"cluster transfer", "accepts 1 arg(s), received 0"},
		{"cluster transfer -- -3", `"-3" is no number of a node`},
		{"cluster transfer 3 --group ten", `invalid argument "ten" for "--group"`},
		{"cluster transfer 3 --group -1", `invalid argument "-1" for "--group"`},
		{"cluster transfer 3 --group=", `invalid argument "" for "--group"`}, // an empty variable of a script is not all groups
		{"cluster transfer 3 --group", "flag needs an argument: --group"},
		{"cluster drain 1 2", "accepts between 0 and 1 arg(s), received 2"},
		{"cluster drain 3 --group 10", "unknown flag: --group; see kalamdb cluster drain --help"},
		{"cluster resume all", `"all" is no number of a node`},
		{"cluster stepdown 9999999999999999999", "is no number of a node"},
		{"cluster election 2", "accepts 0 arg(s), received 1; see kalamdb cluster election --help"},
		{"cluster rebalance 2", "kalamdb cluster rebalance --help"},
		{"cluster rebalance --dry-run=perhaps", `invalid argument "perhaps"`},
		{"cluster snapshot 200", "accepts 0 arg(s), received 1"},
		{"cluster purge", "--upto is required"},
		{"cluster purge --upto 0", "--upto is required"},
		{"cluster purge --upto all", `invalid argument "all" for "--upto"`},
		{"cluster purge 15", "kalamdb cluster purge --help"},
		{"cluster status --url ::", "--url"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(test.line), noEnvironment, &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), test.says) || stdout.Len() != 0 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: code %d, stderr %q, stdout %q; want %d and a line with %q", test.line, code, &stderr, &stdout, exitUsage, test.says)
		}
	}
}

// TestUnreachableNodeExitsWithOne: who asks a node that is not there gets another code than who asks wrongly.
func TestUnreachableNodeExitsWithOne(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // nobody but root can listen there, and nobody does
	for _, order := range []string{"status", "transfer 3", "purge --upto 5", "rebalance --dry-run --group 10", "init --timeout 1ms"} {
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields("cluster "+order), "--url", "http://"+addr, "--password", "p")
		code := run(t.Context(), args, noEnvironment, &stdout, &stderr)
		if code != exitFailure || !strings.Contains(stderr.String(), addr) || stdout.Len() != 0 {
			t.Errorf("%s: code %d, stderr %q, stdout %q", order, code, &stderr, &stdout)
		}
	}
}
