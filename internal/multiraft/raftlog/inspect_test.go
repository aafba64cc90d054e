package raftlog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
)

// Inspect says what Open would, of a sound log, a torn one, and one with damage in several places; and it changes
// nothing.
func TestInspectSaysWhatOpenWould(t *testing.T) {
	t.Parallel()
	all, model := populated(t, true)
	names := all.segments()
	inspect := func(all files) raftlog.Inspection {
		fs := all.restore(t)
		found, err := raftlog.Inspect(fs, "log", ident.StoreID{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		if !readFiles(t, fs).equal(all) {
			t.Fatal("inspecting changed the directory")
		}
		return found
	}
	sound := inspect(all)
	if len(sound.Damage) != 0 || len(sound.Notes) != 0 || sound.Segments != len(names) || sound.Records == 0 {
		t.Fatalf("a sound log: %+v", sound)
	}
	l := open(t, smallConfig(all.restore(t)))
	defer closeLog(t, l)
	for _, g := range sound.Groups {
		opened := l.Group(g.Group)
		if opened.HardState() != g.Hard || opened.Marker() != g.Marker || opened.LastIndex() != g.Last {
			t.Errorf("group %v: %+v, opened with %+v %+v %d", g.Group, g, opened.HardState(), opened.Marker(), opened.LastIndex())
		}
	}
	if len(sound.Groups) != len(l.Groups()) || model == nil {
		t.Errorf("%d groups, opened with %d", len(sound.Groups), len(l.Groups()))
	}

	first, last := names[0], names[len(names)-1]
	two := all.with(first, func(b []byte) { b[4096+40] ^= 4 }).with(last, func(b []byte) { b[40] ^= 4 })
	if found := inspect(two); len(found.Damage) != 2 || len(found.Groups) != 0 {
		t.Errorf("two segments are damaged: %+v", found.Damage)
	}
	gone := all.with(first, func([]byte) {})
	delete(gone, names[1])
	if found := inspect(gone); !slices.ContainsFunc(found.Damage, func(e *raftlog.DamageError) bool {
		return strings.Contains(e.Reason, "is missing")
	}) {
		t.Errorf("a segment is missing: %+v", found.Damage)
	}
	if found, err := raftlog.Inspect(all.restore(t), "log", ident.StoreID{9}); err != nil || len(found.Damage) == 0 {
		t.Errorf("the log of another store: %+v, %v", found, err)
	}
}

// Wherever a bit is flipped: when Open refuses the log, Inspect finds damage, and the other way round.
func TestInspectAndOpenAgreeOnFlippedBits(t *testing.T) {
	t.Parallel()
	all, _ := populated(t, true)
	refused := 0
	for _, name := range all.segments() {
		for offset := range all[name] {
			if offset > 64 && (all[name][offset] == 0 && offset%997 != 0 || offset%53 != 0) {
				continue // a sample
			}
			changed := all.with(name, func(b []byte) { b[offset] ^= 1 << (offset % 8) })
			found, err := raftlog.Inspect(changed.restore(t), "log", ident.StoreID{})
			if err != nil {
				t.Fatal(err)
			}
			l, err := raftlog.Open(smallConfig(changed.restore(t)))
			if err == nil {
				closeLog(t, l)
			} else {
				refused++
			}
			if (err != nil) != (len(found.Damage) > 0) {
				t.Fatalf("%s at %d: opening says %v, inspecting %v", name, offset, err, found.Damage)
			}
		}
	}
	if refused == 0 {
		t.Fatal("no flip was in a place that matters")
	}
}
