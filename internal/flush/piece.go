package flush

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// pieceTime is the time after which a piece of work ends with the segment at hand, so that whoever asked for it can say how far the work is.
const pieceTime = 2 * time.Second

// piece is one order at work.
type piece struct {
	*Worker

	order  Order
	permit func() error
	table  *schema.Table
	pace   *pacer
	until  time.Time
	did    Piece
}

// Piece carries out an order: it flushes the scopes of the group from the order's position on until the time of a piece is over. A permit is asked for
// before each file, and before the command that names it; its error ends the piece. Nil permits all.
func (w *Worker) Piece(ctx context.Context, order Order, permit func() error) (Piece, error) {
	for _, group := range []shard.GroupID{shard.Meta, order.Group} {
		if _, err := w.Executor.Barrier(ctx, group); err != nil {
			return Piece{}, err
		}
	}
	t, err := flushable(w.Catalog.Current(), order.Table)
	if err != nil {
		return Piece{}, err
	}
	if permit == nil {
		permit = func() error { return nil }
	}
	p := &piece{Worker: w, order: order, permit: permit, table: t, pace: w.pacer(), until: w.Clock.Now().Add(pieceTime)}
	err = p.run(ctx)
	return p.did, err
}

// run flushes scope after scope.
func (p *piece) run(ctx context.Context) error {
	tried := false // a piece gets on, however long it takes to find a scope
	for at := p.order.From; ; {
		user, found, err := p.nextScope(at)
		if err != nil || !found {
			return err
		}
		if user != at.User {
			at = Position{User: user}
		}
		if tried && !p.Clock.Now().Before(p.until) {
			p.did.Next = &at
			return nil
		}
		tried = true
		next, err := p.scope(ctx, at)
		if err != nil {
			err = fmt.Errorf("flush %s in %s: %w", p.table.FullName(), p.order.Group, err)
			if !concernsScope(err) {
				return err
			}
			if p.did.Failed = append(p.did.Failed, err); len(p.did.Failed) == maxErrors {
				return nil
			}
		}
		if next != nil {
			p.did.Next = &Position{User: user, Key: next}
			return nil
		}
		if p.table.Kind != schema.KindUser {
			return nil
		}
		at = Position{User: user + "\x00"} // which comes right behind it
	}
}

// nextScope finds the first scope with a hot row at or behind a position; that of a shared table has the empty user.
func (p *piece) nextScope(at Position) (user ident.UserID, found bool, err error) {
	_, end := keys.TableSpan(p.order.Group, p.table.ID)
	it, err := p.Storage.Scan(keys.Row(p.order.Group, p.table.ID, at.User, at.Key), end)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return "", false, it.Err()
	}
	key, err := keys.ParseRow(it.Key())
	return key.User, err == nil, err
}

// scope flushes the hot rows that a scope has now, one segment after the other. It returns the key to go on with when the time is over, else nil.
func (p *piece) scope(ctx context.Context, at Position) (next []byte, err error) {
	low, number := at.Key, uint64(0)
	for attempt := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next, moved, err := p.segment(ctx, at.User, low, number)
		if taken, ok := errors.AsType[*TakenError](err); ok && attempt < maxAttempts {
			attempt++
			number = max(number, taken.Next)
			continue
		}
		if fault.KindOf(err) == fault.Conflict && attempt < maxAttempts {
			attempt++
			if _, err = p.Executor.Barrier(ctx, p.order.Group); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if moved != nil {
			p.did.Moved.add(Result{Segments: 1, Rows: int64(moved.GetRows()), Bytes: int64(moved.GetSizeBytes())}) //nolint:gosec // counts
		}
		if next == nil {
			p.did.Moved.Scopes++
			return nil, nil
		}
		if !p.Clock.Now().Before(p.until) {
			return next, nil
		}
		low, attempt = next, 0
		if err = p.pace.named(ctx); err != nil {
			return nil, err
		}
		if _, err = p.Executor.Barrier(ctx, p.order.Group); err != nil { // so that this node knows what it did
			return nil, err
		}
	}
}

// segment writes and commits one segment with the rows of a scope from a key on; its number is at least the given one, and that of a row written at the
// index of the snapshot: so no scope has a name that another one had, which lay in the same directory before this one was there. It
// returns the key to go on with, nil when there are no more rows.
func (p *piece) segment(ctx context.Context, user ident.UserID, low []byte, number uint64) (next []byte, moved *commandv1.Segment, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	if err = p.permit(); err != nil {
		return nil, nil, err
	}
	t, group := p.table, p.order.Group
	snapshot := p.Storage.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	applied, err := p.Applied(snapshot, group)
	if err != nil {
		return nil, nil, err
	}
	view, err := p.Cold.View(snapshot, group, t, user)
	if err != nil {
		return nil, nil, err
	}
	place, err := p.place(t, user)
	if err != nil {
		return nil, nil, err
	}
	number, version := max(number, command.Seq(applied, 0)), uint64(0)
	if view != nil {
		if n := len(view.Manifest().GetSegments()); n >= manifest.MaxSegments {
			return nil, nil, fault.New(fault.LimitExceeded, "the scope has %d segments; compact the table first", n)
		}
		number, version = max(number, view.Manifest().GetNextNumber()), view.Version()
	}
	rows, err := openRows(snapshot, t, group, user, low)
	if err != nil {
		return nil, nil, err
	}
	written, err := p.write(ctx, t, place, number, pacedRows{rows, ctx, p.pace})
	err = errors.Join(err, rows.close())
	if err != nil || written == nil {
		return nil, nil, err
	}
	if err = p.keep(ctx, written); err != nil {
		return nil, nil, err
	}
	if err = errors.Join(p.step("commit"), p.permit()); err != nil {
		return nil, nil, err
	}
	_, err = p.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_CommitSegment{
		CommitSegment: &commandv1.CommitSegment{
			TableId: uint64(t.ID), User: string(user), Revision: t.Revision, ExpectVersion: version, UptoIndex: applied, Segment: written,
		},
	}})
	if fault.KindOf(err) == fault.NotFound { // none of the rows is as it was read: those that are there stay hot
		return rows.next, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("commit %s: %w", written.GetPath(), err)
	}
	return rows.next, written, p.step("committed")
}
