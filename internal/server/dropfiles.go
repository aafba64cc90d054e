package server

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// dropPatience is how long a member has to delete the files of an account. Its sweeper deletes what it did not.
const dropPatience = 10 * time.Second

func (n *Node) fileDropper() jobs.FileDropper {
	if n.cfg.Standalone() {
		return nil
	}
	return coldPeers{n}
}

// DropFiles implements jobs.FileDropper. The members are asked at once.
func (p coldPeers) DropFiles(ctx context.Context, user ident.UserID, deletedMicros int64) (deleted int, left []string) {
	ctx, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	type answer struct {
		deleted int
		left    string
	}
	others := p.others()
	answers := make(chan answer, len(others))
	for _, replica := range others {
		go func() {
			resp, err := p.n.network.DropFiles(ctx, replica, &nodev1.DropFilesRequest{User: string(user), DeletedMicros: deletedMicros})
			a := answer{deleted: int(resp.GetDeleted())}
			switch {
			case err != nil:
				a.left = err.Error()
			case resp.GetRefused() != "":
				a.left = fmt.Sprintf("replica %d: %s", replica, resp.GetRefused())
			}
			answers <- a
		}()
	}
	for range others {
		a := <-answers
		deleted += a.deleted
		if a.left != "" {
			left = append(left, a.left)
		}
	}
	return deleted, left
}

// HandleDropFiles implements transport.FileKeeper. What the caller says is not enough: this node looks itself whether the account is dropped, and waits
// until it knows that its rows are gone, so that no file is fetched again.
func (h peerHandler) HandleDropFiles(ctx context.Context, req *nodev1.DropFilesRequest) *nodev1.DropFilesResponse {
	deleted, err := h.n.dropFiles(ctx, ident.UserID(req.GetUser()), req.GetDeletedMicros())
	resp := &nodev1.DropFilesResponse{Deleted: uint64(deleted)}
	if err != nil {
		resp.Refused = err.Error()
	}
	return resp
}

func (n *Node) dropFiles(ctx context.Context, user ident.UserID, deletedMicros int64) (deleted int, err error) {
	still := func() error {
		if _, failed := n.exec.Barrier(ctx, shard.Meta); failed != nil {
			return failed
		}
		account, exists := n.catalog.Current().UserOrDeleted(user)
		if !exists || !account.Deleted() || account.DeletedMicros != deletedMicros {
			return fmt.Errorf("the account '%s' is not dropped here", user)
		}
		return nil
	}
	if err = still(); err != nil {
		return 0, err
	}
	current := n.catalog.Current()
	if _, err = n.exec.Barrier(ctx, current.Cluster().Shards.RouteUser(user)); err != nil {
		return 0, err
	}
	deleted, _, err = jobs.DeleteUserFiles(ctx, current, n.cold, user, false, still)
	return deleted, err
}
