package executor

import (
	"context"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Elsewhere learns which other replica led the group of a command (WithElsewhere). It is zero as long as all commands were
// proposed by this node; of several that were not, it has the last one's leader.
type Elsewhere struct{ leader atomic.Uint64 }

// Leader returns the replica, zero for none.
func (e *Elsewhere) Leader() ident.ReplicaID { return ident.ReplicaID(e.leader.Load()) }

type elsewhereKey struct{}

// WithElsewhere makes every Execute under the context tell where it was forwarded to, once the command has been applied there.
func WithElsewhere(ctx context.Context, e *Elsewhere) context.Context {
	return context.WithValue(ctx, elsewhereKey{}, e)
}

// WithoutElsewhere leaves what is executed under the context out of what a caller is told: a command that the server writes for itself
// says nothing about where the caller's changes go.
func WithoutElsewhere(ctx context.Context) context.Context {
	if ctx.Value(elsewhereKey{}) == nil {
		return ctx
	}
	return context.WithValue(ctx, elsewhereKey{}, nil)
}

func tellElsewhere(ctx context.Context, leader ident.ReplicaID) {
	if e, ok := ctx.Value(elsewhereKey{}).(*Elsewhere); ok {
		e.leader.Store(uint64(leader))
	}
}
