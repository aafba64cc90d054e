package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/executor"
)

// tellLeader runs a request, and says who leads what it changed if the caller asks for that.
func (e *Engine) tellLeader(ctx context.Context, b *batchRun, request Request) (*Response, error) {
	if !request.TellLeader {
		return b.request(ctx, request)
	}
	elsewhere := new(executor.Elsewhere)
	response, err := b.request(executor.WithElsewhere(ctx, elsewhere), request)
	if replica := elsewhere.Leader(); err == nil && replica != 0 {
		if member, known := e.deps.Catalog.Current().Member(replica); known && !member.Removed {
			response.Leader = member.APIAddr
		}
	}
	return response, err
}
