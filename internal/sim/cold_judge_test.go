package sim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// compareRows says how a replica's rows, hot and cold, differ from what the log says, "" when they do not.
func (w *world) compareRows(n *simNode, m *model) (string, error) {
	view := n.store.NewSnapshot()
	defer func() { _ = view.Close() }() // it was only read
	seen := make(map[rowName]uint64)
	difference := ""
	differs := func(format string, args ...any) {
		if difference == "" {
			difference = fmt.Sprintf(format, args...)
		}
	}
	err := eachRow(view, m.group, func(name rowName, row modelRow) {
		seen[name] = row.seq
		if want, ok := m.rows[name]; !ok || want != row {
			differs("row %v is %v, the log says %v", name, row, want)
		}
	})
	if err != nil || difference != "" {
		return difference, err
	}
	scopes := make(map[scopeName]bool)
	for _, t := range n.catalog.Current().Tables() {
		decoder := table.NewDecoder(t, nil)
		err := n.cold.eachRow(view, m.group, t, func(row coldRow) error {
			scopes[scopeName{uint64(t.ID), string(row.user)}] = true
			name := rowName{uint64(t.ID), string(row.user), string(row.key)}
			if hot, ok := seen[name]; ok {
				if hot <= row.seq {
					differs("row %v is hot at %d, and cold at %d", name, hot, row.seq)
				}
				return nil
			}
			seen[name] = row.seq
			w.saw(ruleColdRows)
			text, err := m.differs(name, row, decoder)
			if text != "" {
				differs("cold row %v %s", name, text)
			}
			return err
		})
		if err != nil || difference != "" {
			return difference, err
		}
	}
	for name, row := range m.rows {
		if _, ok := seen[name]; !ok && (!row.deleted || !scopes[scopeName{name.table, name.user}]) {
			differs("row %v is lost, the log says %v", name, row)
		}
	}
	return difference, nil
}

// differs says how a cold row differs from what the log says.
func (m *model) differs(name rowName, row coldRow, decoder *schema.RowDecoder) (string, error) {
	want, ok := m.rows[name]
	if !ok || want.seq != row.seq || want.deleted != row.deleted {
		return fmt.Sprintf("is at %d, deleted %v, the log says %v", row.seq, row.deleted, want), nil
	}
	if want.deleted {
		return "", nil
	}
	values := make([]datum.Datum, len(row.values))
	if err := decoder.Decode([]byte(want.value), values); err != nil {
		return "", err
	}
	for i := range values {
		if values[i].String() != row.values[i].String() || values[i].IsNull() != row.values[i].IsNull() {
			return fmt.Sprintf("has %s in column %d, the log says %s", row.values[i], i, values[i]), nil
		}
	}
	return "", nil
}

// coldCommand looks at a command that names files, when it is first applied: a majority must have them, whatever happens to
// anybody's power then.
func (o *oracle) coldCommand(g shard.GroupID, index uint64, cmd *commandv1.Command) {
	var named []*commandv1.Segment
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_AddMember:
		o.w.joins(ident.NodeID(body.AddMember.GetMember().GetNodeId()))
	case *commandv1.Command_CommitSegment:
		named = []*commandv1.Segment{body.CommitSegment.GetSegment()}
		o.w.stats.segments++
		o.cooled[tableIn{g, body.CommitSegment.GetTableId()}] = true
	case *commandv1.Command_PurgeTable:
		if at := (tableIn{g, body.PurgeTable.GetTableId()}); o.cooled[at] {
			delete(o.cooled, at)
			o.w.saw(coldTableDropped)
		}
	case *commandv1.Command_ReplaceSegments:
		named = body.ReplaceSegments.GetSegments()
		o.w.stats.merges++
	}
	for _, s := range named {
		o.w.trace.event("entry %d of %s names %s, %d rows, %x", index, g, s.GetPath(), s.GetRows(), s.GetSha256()[:4])
		if s.GetStorageId() == bucketName {
			if sha256.Sum256(o.w.bucket.objects[s.GetPath()]) != [sha256.Size]byte(s.GetSha256()) {
				o.w.fail("entry %d of %s names %s, which is not in the bucket", index, g, s.GetPath())
			}
			continue
		}
		have := 0
		for _, n := range o.w.nodes {
			left := n.disk.crashed
			if left == nil {
				left = n.disk.base.CrashClone(vfs.CrashCloneCfg{})
			}
			if sumOf(left, s.GetPath()) == [sha256.Size]byte(s.GetSha256()) {
				have++
			}
		}
		members := 0
		for _, n := range o.w.nodes {
			if n.manager != nil {
				members = max(members, liveMembers(n.catalog.Current()))
			}
		}
		lost, joined := o.w.unsettled()
		o.w.saw(ruleSegments)
		if have+lost < (members-joined)/2+1 && !o.w.opt.solo {
			o.w.fail("entry %d of %s names %s, which %d of %d members have durably; %d of them may have lost it since, and %d have come",
				index, g, s.GetPath(), have, members, lost, joined)
		}
	}
}

// joins notes that a node is a member from now on: of more, or in the place of its lost disk.
func (w *world) joins(id ident.NodeID) {
	for _, n := range w.nodes {
		if n.id == id {
			n.joinedAt = w.step
		}
	}
}

// unsettled is how many of those that have kept a file may have lost it before the command that names it is applied, and how many of the members
// have come since it was kept. As long as a node with an empty disk has not joined again, there may be no quorum, and the command may be old.
func (w *world) unsettled() (lost, joined int) {
	lately := func(step int) bool { return step != 0 && w.step-step < int(2*filesLast/stepTime) }
	for _, n := range w.nodes {
		switch {
		case n.lostAt != 0 && (n.self.Replica == 0 || lately(n.lostAt) || lately(n.joinedAt)):
			lost++
		case lately(n.joinedAt):
			joined++
		}
	}
	return lost, joined
}

func liveMembers(c *catalog.Catalog) int {
	count := 0
	for _, m := range c.Members() {
		if !m.Removed {
			count++
		}
	}
	return count
}

// sumOf is the SHA-256 of a segment on a disk; zero when it is not there.
func sumOf(disk *vfs.MemFS, file string) (sum [sha256.Size]byte) {
	f, err := disk.Open(path.Join(coldDir, file))
	if err != nil {
		return sum
	}
	content, err := io.ReadAll(f)
	if closeErr := f.Close(); err != nil || closeErr != nil {
		return sum
	}
	return sha256.Sum256(content)
}

// healCold wants cold rows to be whole once the faults are over: what can be flushed and merged is, every node has every file
// that is named, and no other is left anywhere.
func (w *world) healCold(c *clients) {
	if !w.opt.cold || c == nil || len(w.sqlIDs) == 0 {
		return
	}
	w.bucket.downTo = 0
	if w.rng.IntN(2) == 0 {
		merge := w.rng.IntN(2) == 0
		done := false
		w.spawn("flush all", func(a *actor) {
			var err error
			for tries := 0; !done; a.sleep(time.Second) {
				a.request(func(s *session) { err = s.flushAll(merge) })
				if done = err == nil; tries > 20 {
					w.fail("cold rows cannot be made though there are no faults: %v", err)
				}
				tries++
			}
		})
		w.until(healBound, "all rows are cold", func() bool { return done })
	}
	w.mendSegments()
	w.until(healBound, "every named file is everywhere, and no other file is", func() bool {
		return w.step%50 == 0 && w.tidy() == ""
	})
	w.until(healBound, "all nodes are equal after the last flush", w.whole)
}

// tidy says which file is missing somewhere, or lies somewhere and is not named; "" when all is well.
func (w *world) tidy() string {
	for _, n := range w.nodes {
		if !running(n) {
			return "a node is away"
		}
		named := make(map[string]bool)
		for _, g := range w.dataGroups() {
			lo, hi := keys.ManifestsSpan(g)
			missing := ""
			err := manifest.Each(n.store, lo, hi, func(key []byte, m *commandv1.Manifest) error {
				scope, failure := keys.ParseManifest(key)
				if failure != nil {
					return failure
				}
				if _, ok := n.catalog.Current().TableByID(scope.Table); !ok {
					missing = fmt.Sprintf("manifest: table %d is gone", scope.Table)
				}
				for _, s := range m.GetSegments() {
					named[s.GetStorageId()+":"+s.GetPath()] = true
					sum := sumOf(n.disk.base, s.GetPath())
					if s.GetStorageId() == bucketName {
						sum = sha256.Sum256(w.bucket.objects[s.GetPath()])
					}
					if sum != [sha256.Size]byte(s.GetSha256()) {
						missing = s.GetPath()
					}
				}
				return nil
			})
			if err != nil {
				w.fail("node %d reads its manifests: %v", n.id, err)
			}
			if missing != "" {
				return fmt.Sprintf("node %d has no right %s", n.id, missing)
			}
		}
		for _, file := range n.disk.segments(coldDir) {
			if !named[catalog.LocalStorage+":"+file] {
				return fmt.Sprintf("node %d has %s, which nobody names", n.id, file)
			}
		}
		for _, key := range w.bucket.keys() {
			if strings.HasSuffix(key, ".parquet") && !named[bucketName+":"+key] {
				return fmt.Sprintf("the bucket has %s, which nobody names", key)
			}
		}
	}
	return ""
}

// segments lists the files of segments below a directory, by their names in the storage.
func (d *simDisk) segments(dir string) []string {
	var found []string
	names, err := d.base.List(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		file := path.Join(dir, name)
		if strings.HasSuffix(name, ".parquet") {
			found = append(found, strings.TrimPrefix(file, coldDir+"/"))
			continue
		}
		if info, err := d.base.Stat(file); err == nil && info.IsDir() && name != ".tmp" {
			found = append(found, d.segments(file)...)
		}
	}
	return found
}

// coldRow is a cold version of a row.
type coldRow struct {
	user    ident.UserID
	key     []byte
	seq     uint64
	deleted bool
	values  []datum.Datum
}

// eachRow visits the newest cold version of every key of a table in a group.
func (c *coldPart) eachRow(reader storage.Reader, g shard.GroupID, t *schema.Table, visit func(coldRow) error) error {
	positions := make([]int, len(t.Columns))
	for i := range positions {
		positions[i] = i
	}
	lo, hi := keys.ManifestSpan(g, t.ID)
	return eachPair(reader, lo, hi, func(key, _ []byte) error {
		scope, err := keys.ParseManifest(key)
		if err != nil {
			return err
		}
		view, err := c.store.View(reader, g, t, scope.User)
		if err != nil {
			return err
		}
		cursor := view.Cursor(nil, nil, positions)
		defer func() { _ = cursor.Close() }() // it was only read
		for {
			ok, err := cursor.Next(nil)
			if err != nil || !ok {
				return err
			}
			row := coldRow{user: scope.User, values: make([]datum.Datum, len(t.Columns))}
			if row.key, err = cursor.Key(); err == nil {
				row.seq, err = cursor.Seq()
			}
			if err == nil {
				row.deleted, err = cursor.Deleted()
			}
			if err == nil {
				err = cursor.Fill(row.values)
			}
			if err == nil {
				err = visit(row)
			}
			if err != nil {
				return err
			}
		}
	})
}

// unreadable reports whether cold rows cannot be read for a reason that passes: the file is elsewhere, or the bucket is down.
func unreadable(err error) bool {
	return errors.Is(err, cold.ErrMissing) || errors.Is(err, segment.ErrDamaged) || errors.Is(err, objstore.ErrUnavailable) ||
		errors.Is(err, errPower) || errors.Is(err, errDisk) || disk.IsFull(err)
}
