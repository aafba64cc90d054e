package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// exportPeriod is the time between two looks at the files of exports of this node.
const exportPeriod = time.Minute

// buildExports makes the shelf of exports of this node.
func (n *Node) buildExports() {
	n.exports = export.NewShelf(export.ShelfConfig{
		FS: n.fs.FS, Dir: filepath.Join(n.cfg.Storage.DataPath, "exports"), Reader: n.store, Catalog: n.catalog, Executor: n.exec, Clock: n.clock,
		Node: func() ident.NodeID { return ident.NodeID(n.cfg.Cluster.NodeID) },
		Keep: time.Duration(n.cfg.Storage.ExportKeepHours) * time.Hour, MaxBytes: n.cfg.Storage.ExportMaxBytes,
	})
}

func (n *Node) exportSource() *export.Source {
	return &export.Source{Storage: n.store, Catalog: n.catalog, Executor: n.exec, Cold: n.cold, Clock: n.clock}
}

// tendExports removes files of exports whose time is over, until the context ends.
func (n *Node) tendExports(ctx context.Context) {
	for ctx.Err() == nil {
		if n.admitted() {
			removed, err := n.exports.Tend(ctx)
			switch {
			case err != nil && ctx.Err() == nil:
				n.logger.Info("files of exports are looked at again later", slog.Any("error", err))
			case removed > 0:
				n.logger.Info("files of exports were removed", slog.Int("files", removed))
			}
		}
		n.pause(ctx, exportPeriod)
	}
}

// downloads finds exports on this node and on others. It implements httpapi.Exports.
type downloads struct{ n *Node }

// Open implements httpapi.Exports.
func (d downloads) Open(ctx context.Context, user ident.UserID, id string) (*httpapi.Export, error) {
	result, err := d.n.exports.Find(ctx, user, id)
	if err != nil {
		return nil, err
	}
	return &httpapi.Export{ID: id, Bytes: result.Bytes, SHA256: result.SHA256, Copy: func(ctx context.Context, to io.Writer) error {
		out := export.NewVerified(to, result)
		if err := d.read(ctx, result, out); err != nil {
			return err
		}
		return out.Finish()
	}}, nil
}

// read has the bytes of a file from the node on which it lies.
func (d downloads) read(ctx context.Context, result *catalog.ExportResult, to io.Writer) error {
	if result.Node == ident.NodeID(d.n.cfg.Cluster.NodeID) {
		return d.n.exports.Read(ctx, result.Path, to)
	}
	member, exists := catalogMember(d.n.catalog.Current(), result.Node)
	if !exists || d.n.network == nil {
		return fault.New(fault.Unavailable, "the file lies on node %d, which is not in the cluster any more; export again", result.Node)
	}
	err := d.n.network.ReadFile(ctx, member.Replica, &nodev1.ReadFileRequest{StorageId: export.StorageID, Path: result.Path}, to)
	if err != nil {
		return fmt.Errorf("the file lies on node %d: %w", result.Node, err)
	}
	return nil
}
