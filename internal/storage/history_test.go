package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// history runs random commits, flushes, replacements and power cuts over a few groups of keys and keeps, for
// each group, every content it ever had. Each content holds its number under the key "applied".
type history struct {
	t      *testing.T
	random *rand.Rand
	fs     *vfs.MemFS
	e      *Engine
	groups [3][]map[string]string // contents by number; the last is the present
	files  int
}

func groupBounds(group int) (lo, hi string) {
	return fmt.Sprintf("g%d/", group), fmt.Sprintf("g%d0", group)
}

// TestHistoryWithPowerCuts checks after every power cut that each group has exactly one of the contents it had
// before, not older than what the durable reader had promised, and that it goes on well from there.
func TestHistoryWithPowerCuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := &history{t: t, random: rand.New(rand.NewPCG(seed, 3)), fs: vfs.NewCrashableMem()}
			for g := range h.groups {
				h.groups[g] = []map[string]string{{}}
			}
			h.e = open(t, h.fs)
			for range 250 {
				switch pick := h.random.IntN(20); {
				case pick < 13:
					h.commit()
				case pick < 15:
					check(t, h.e.Flush())
				case pick < 18:
					h.replace(h.random.IntN(len(h.groups)))
				default:
					h.powerCut()
				}
			}
			h.powerCut()
			check(t, h.e.Close())
		})
	}
}

// next starts the content of a group that follows the present one.
func (h *history) next(group int) map[string]string {
	content := maps.Clone(h.groups[group][len(h.groups[group])-1])
	content["applied"] = strconv.Itoa(len(h.groups[group]))
	h.groups[group] = append(h.groups[group], content)
	return content
}

// commit changes a random set of groups in one batch.
func (h *history) commit() {
	b := h.e.NewBatch()
	for group := range h.groups {
		if h.random.IntN(2) == 0 {
			continue
		}
		content := h.next(group)
		prefix, _ := groupBounds(group)
		for range h.random.IntN(6) {
			key := fmt.Sprintf("%02d", h.random.IntN(40))
			if h.random.IntN(4) == 0 {
				delete(content, key)
				check(h.t, b.Delete([]byte(prefix+key)))
				continue
			}
			content[key] = strconv.Itoa(h.random.IntN(1000))
			check(h.t, b.Set([]byte(prefix+key), []byte(content[key])))
		}
		if h.random.IntN(8) == 0 {
			maps.DeleteFunc(content, func(key, _ string) bool { return "10" <= key && key < "25" })
			check(h.t, b.DeleteRange([]byte(prefix+"10"), []byte(prefix+"25")))
		}
		check(h.t, b.Set([]byte(prefix+"applied"), []byte(content["applied"])))
	}
	check(h.t, h.e.Commit(b))
	check(h.t, b.Close())
}

// replace installs a new content of a group, in zero to two files.
func (h *history) replace(group int) {
	content := h.next(group)
	clear(content)
	content["applied"] = strconv.Itoa(len(h.groups[group]) - 1)
	for range h.random.IntN(10) {
		content[fmt.Sprintf("%02d", h.random.IntN(40))] = "replaced"
	}
	prefix, end := groupBounds(group)
	sorted := slices.Sorted(maps.Keys(content))
	cut := h.random.IntN(len(sorted) + 1)
	var paths []string
	for _, part := range [][]string{sorted[:cut], sorted[cut:]} {
		if len(part) == 0 {
			continue
		}
		h.files++
		path := fmt.Sprint("incoming", h.files)
		w, err := h.e.NewTableWriter(path)
		check(h.t, err)
		for _, key := range part {
			check(h.t, w.Set([]byte(prefix+key), []byte(content[key])))
		}
		check(h.t, w.Close())
		paths = append(paths, path)
	}
	check(h.t, h.e.IngestReplace([]byte(prefix), []byte(end), paths))
	if durable := h.version(h.e.Durable(), group); durable != len(h.groups[group])-1 {
		h.t.Errorf("group %d: durable version %d after a replacement, want %d", group, durable, len(h.groups[group])-1)
	}
}

// version is the number of the content that a reader shows.
func (h *history) version(r Reader, group int) int {
	prefix, _ := groupBounds(group)
	value, ok, err := r.Get([]byte(prefix + "applied"))
	check(h.t, err)
	if !ok {
		return 0
	}
	version, err := strconv.Atoi(string(value))
	check(h.t, err)
	return version
}

func (h *history) powerCut() {
	var promised [3]int
	for group := range h.groups {
		promised[group] = h.version(h.e.Durable(), group)
	}
	after := crash(h.fs)
	if h.random.IntN(2) == 0 {
		after = tornCrash(h.fs, h.random)
	}
	check(h.t, h.e.Close())
	h.fs = after
	h.e = open(h.t, after)
	for group := range h.groups {
		version := h.version(h.e, group)
		if version < promised[group] || version >= len(h.groups[group]) {
			h.t.Fatalf("group %d came back at version %d; %d was promised, %d was the last",
				group, version, promised[group], len(h.groups[group])-1)
		}
		h.groups[group] = h.groups[group][:version+1]
		prefix, end := groupBounds(group)
		want := []string{}
		for _, key := range slices.Sorted(maps.Keys(h.groups[group][version])) {
			want = append(want, fmt.Sprintf("%s%s=%s", prefix, key, h.groups[group][version][key]))
		}
		if diff := cmp.Diff(want, dump(h.t, h.e, prefix, end)); diff != "" {
			h.t.Errorf("group %d at version %d (-want +got):\n%s", group, version, diff)
		}
	}
}
