package schema

import "testing"

func TestFlushPolicy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]FlushPolicy{
		"":                         {},
		"rows:500":                 {Rows: 500},
		"interval:60":              {Seconds: 60},
		"rows:10000,interval:300":  {Rows: 10000, Seconds: 300},
		" Interval : 5 , ROWS : 7": {Rows: 7, Seconds: 5},
		"rows:0,interval:x":        {},
	} {
		table := &Table{Options: map[string]string{FlushPolicyOption: text}}
		if got := table.FlushPolicy(); got != want {
			t.Errorf("policy %q is %+v, want %+v", text, got, want)
		}
	}
}
