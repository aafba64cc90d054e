package flush

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// mergePatience bounds the time from the begin of the first file of a merge to the proposal that names it.
const mergePatience = 20 * time.Minute

// Compacted is what one run of Compact did.
type Compacted struct {
	Scopes, Merged, Written int   // scopes that had something to merge, segments that went, and that came
	Dropped                 int64 // versions that went
	Bytes                   int64 // of the segments that came
}

// Compacting is told how far the work is: groups done of all, and what was done so far.
type Compacting func(done, all int, did Compacted)

// Compact merges segments of a table: small ones, and those whose keys overlap, of which only the newest version of each key is
// kept. Deletions go when they are older than the table wants to keep them and hide nothing. Light does what is worth
// its cost by itself; else everything that can be merged is. What was merged before an error stays merged.
func (w *Worker) Compact(ctx context.Context, id ident.TableID, light bool, progress Compacting) (Compacted, error) {
	var did Compacted
	err := w.eachScope(ctx, id, "compact", func(t *schema.Table, group shard.GroupID) ([]ident.UserID, error) {
		return w.worthwhile(t, group, light)
	}, func(t *schema.Table, group shard.GroupID, user ident.UserID) error {
		return w.compactScope(ctx, t, group, user, light, &did)
	}, func(done, all int) {
		if progress != nil {
			progress(done, all, did)
		}
	})
	return did, err
}

// forgetBefore is the time before which the deletions of a table may go.
func (w *Worker) forgetBefore(t *schema.Table, nowMicros int64) int64 {
	if w.ClockAgrees != nil && w.ClockAgrees() != nil {
		return 0 // the job of retention, which the clock keeps from its work, says so
	}
	return nowMicros - t.DeletedRetention().Microseconds()
}

// worthwhile lists the users of whose scopes there is something to merge.
func (w *Worker) worthwhile(t *schema.Table, group shard.GroupID, light bool) ([]ident.UserID, error) {
	before := w.forgetBefore(t, w.Clock.Now().UnixMicro())
	lo, hi := keys.ManifestSpan(group, t.ID)
	var users []ident.UserID
	err := manifest.Each(w.Storage, lo, hi, func(key []byte, m *commandv1.Manifest) error {
		if choose(m.GetSegments(), before, light) == nil {
			return nil
		}
		scope, failure := keys.ParseManifest(key)
		users = append(users, scope.User)
		return failure
	})
	return users, err
}

// compactScope merges segments of a scope until there is nothing to do.
func (w *Worker) compactScope(ctx context.Context, t *schema.Table, group shard.GroupID, user ident.UserID, light bool, did *Compacted) error {
	did.Scopes++
	number, attempt, pace := uint64(0), 0, w.pacer()
	for merges := 0; merges <= 2*manifest.MaxSegments; merges++ { // each leaves fewer segments, or fewer that overlap
		if err := ctx.Err(); err != nil {
			return err
		}
		again, err := w.mergeOnce(ctx, t, group, user, light, number, did, pace)
		if taken, ok := errors.AsType[*TakenError](err); ok && attempt < maxAttempts {
			attempt++
			number = max(number, taken.Next)
			continue
		}
		if fault.KindOf(err) == fault.Conflict && attempt < maxAttempts {
			attempt++
			if _, err = w.Executor.Barrier(ctx, group); err != nil {
				return err
			}
			continue
		}
		if err != nil || !again {
			return err
		}
		attempt = 0
		if _, err = w.Executor.Barrier(ctx, group); err != nil { // so that this node knows what it did
			return err
		}
	}
	return nil
}

// mergeOnce merges what is chosen next, and reports whether there was anything.
func (w *Worker) mergeOnce(
	ctx context.Context, t *schema.Table, group shard.GroupID, user ident.UserID, light bool, number uint64, did *Compacted, pace *pacer,
) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mergePatience)
	defer cancel()
	view, err := w.Cold.View(w.Storage, group, t, user)
	if err != nil || view == nil {
		return false, err
	}
	now := w.Clock.Now().UnixMicro()
	before := w.forgetBefore(t, now)
	chosen := choose(view.Manifest().GetSegments(), before, light)
	if chosen == nil {
		return false, nil
	}
	at, err := w.place(t, user)
	if err != nil {
		return false, err
	}
	m := openMerge(view, t, chosen, before, now)
	written, err := w.writeMerged(ctx, t, at, max(number, view.Manifest().GetNextNumber()), m, pace)
	if err = errors.Join(err, m.close()); err != nil {
		return false, err
	}
	body := &commandv1.ReplaceSegments{TableId: uint64(t.ID), User: string(user), Revision: t.Revision, ExpectVersion: view.Version(), Segments: written}
	rows := int64(0)
	for _, s := range chosen {
		body.Numbers = append(body.Numbers, s.GetNumber())
		rows += int64(s.GetRows()) //nolint:gosec // a count of rows
	}
	if err = w.replace(ctx, group, t, user, chosen, body); err != nil {
		return false, err
	}
	did.Merged, did.Written = did.Merged+len(chosen), did.Written+len(written)
	for _, s := range written {
		rows -= int64(s.GetRows())           //nolint:gosec // a count of rows
		did.Bytes += int64(s.GetSizeBytes()) //nolint:gosec // the size of a file
	}
	did.Dropped += rows
	return true, w.step("replaced")
}

// writeMerged writes the files of a merge and has each kept by a majority.
func (w *Worker) writeMerged(ctx context.Context, t *schema.Table, at *place, number uint64, m *merge, pace *pacer) (written []*commandv1.Segment, err error) {
	for !m.ended {
		m.nextFile()
		s, err := w.write(ctx, t, at, number, pacedRows{m, ctx, pace})
		if err != nil {
			return nil, err
		}
		if s == nil {
			break
		}
		s.Ages = m.ages.GetAges()
		if err = w.keep(ctx, s); err != nil {
			return nil, err
		}
		written, number = append(written, s), s.GetNumber()+1
		if err = pace.named(ctx); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// replace proposes the command of a merge. A flush of the scope may come in between: what it adds is newer than everything that is merged,
// so the command is proposed again as long as the merged segments are there.
func (w *Worker) replace(
	ctx context.Context, group shard.GroupID, t *schema.Table, user ident.UserID, chosen []*commandv1.Segment, body *commandv1.ReplaceSegments,
) error {
	for attempt := 0; ; attempt++ {
		if err := w.step("replace"); err != nil {
			return err
		}
		_, err := w.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_ReplaceSegments{ReplaceSegments: body}})
		if err == nil {
			return nil
		}
		err = fmt.Errorf("replace %d segments of %s: %w", len(chosen), t.FullName(), err)
		if fault.KindOf(err) != fault.Conflict || attempt == maxAttempts {
			return err
		}
		if _, failure := w.Executor.Barrier(ctx, group); failure != nil {
			return failure
		}
		m, failure := w.Cold.Manifest(w.Storage, group, t.ID, user)
		if failure != nil {
			return failure
		}
		for _, s := range chosen {
			if !slices.ContainsFunc(m.GetSegments(), func(o *commandv1.Segment) bool { return o.GetNumber() == s.GetNumber() }) {
				return err
			}
		}
		body.ExpectVersion = m.GetVersion()
	}
}
