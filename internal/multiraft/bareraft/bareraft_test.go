package bareraft

import "testing"

// TestCommitsEverywhere commits more than the log keeps, one by one and in batches.
func TestCommitsEverywhere(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, batch := range []int{1, 16} {
		for range 3 * keepEntries / batch {
			if err := c.Commit([]byte("command"), batch); err != nil {
				t.Fatal(err)
			}
			want += batch
		}
	}
	for i := range replicas {
		if got := c.Applied(i); got != want {
			t.Errorf("replica %d has applied %d commands, want %d", i+1, got, want)
		}
		first, err := c.stores[i].FirstIndex()
		if err != nil {
			t.Fatal(err)
		}
		if kept := c.applied[i] + 1 - first; kept >= 2*keepEntries {
			t.Errorf("replica %d keeps %d entries", i+1, kept)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for name, batch := range map[string]int{"1": 1, "16": 16} {
		b.Run(name, func(b *testing.B) {
			c, err := New()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Commit(make([]byte, 128), batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
