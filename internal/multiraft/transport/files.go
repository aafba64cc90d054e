package transport

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// FileKeeper is what a Handler also implements when its node has files that other members may ask for. A node whose handler
// does not refuses them as unimplemented.
type FileKeeper interface {
	// HandleReadFile writes a file to a writer; it may be called at any time.
	HandleReadFile(ctx context.Context, req *nodev1.ReadFileRequest, to io.Writer) error
	// HandleKeepFile has a file that another replica has; it may wait within ctx.
	HandleKeepFile(ctx context.Context, from ident.ReplicaID, req *nodev1.KeepFileRequest) *nodev1.KeepFileResponse
	// HandleDropFiles deletes the files of an account that is dropped; it may wait within ctx.
	HandleDropFiles(ctx context.Context, req *nodev1.DropFilesRequest) *nodev1.DropFilesResponse
}

// fileChunkBytes is the size of the pieces in which a file travels.
const fileChunkBytes = 256 << 10

var errNoFiles = status.Error(codes.Unimplemented, "this node gives no files")

// ReadFile copies a file of another replica to a writer. What comes may be incomplete when it fails.
func (t *GRPC) ReadFile(ctx context.Context, from ident.ReplicaID, req *nodev1.ReadFileRequest, to io.Writer) error {
	p, node, err := t.node(ctx, from)
	if err != nil {
		return fmt.Errorf("read file of replica %d: %w", from, err)
	}
	ctx, cancel := context.WithCancel(p.hello.attach(ctx))
	defer cancel()
	stream, err := node.ReadFile(ctx, req)
	if err != nil {
		return fmt.Errorf("read file of replica %d: %w", from, describe(err))
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read file of replica %d: %w", from, describe(err))
		}
		if _, err := to.Write(part.GetData()); err != nil {
			return fmt.Errorf("read file of replica %d: %w", from, err)
		}
	}
}

// KeepFile asks another replica to have a file of this one.
func (t *GRPC) KeepFile(ctx context.Context, to ident.ReplicaID, req *nodev1.KeepFileRequest) (*nodev1.KeepFileResponse, error) {
	return ask(ctx, t, to, "keep file on", nodev1.NodeServiceClient.KeepFile, req)
}

// DropFiles asks another replica to delete the files of an account.
func (t *GRPC) DropFiles(ctx context.Context, to ident.ReplicaID, req *nodev1.DropFilesRequest) (*nodev1.DropFilesResponse, error) {
	return ask(ctx, t, to, "drop files of", nodev1.NodeServiceClient.DropFiles, req)
}

// ReadFile implements nodev1.NodeServiceServer.
func (s *service) ReadFile(req *nodev1.ReadFileRequest, stream grpc.ServerStreamingServer[nodev1.ReadFileResponse]) error {
	ctx := stream.Context()
	if _, err := s.begin(ctx); err != nil {
		return err
	}
	defer s.transport.calls.leave()
	keeper, ok := s.transport.handler.(FileKeeper)
	if !ok {
		return errNoFiles
	}
	if err := keeper.HandleReadFile(ctx, req, chunkWriter{stream}); err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	return nil
}

// KeepFile implements nodev1.NodeServiceServer.
func (s *service) KeepFile(ctx context.Context, req *nodev1.KeepFileRequest) (*nodev1.KeepFileResponse, error) {
	from, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	keeper, ok := s.transport.handler.(FileKeeper)
	if !ok {
		return nil, errNoFiles
	}
	return keeper.HandleKeepFile(ctx, from, req), nil
}

// DropFiles implements nodev1.NodeServiceServer.
func (s *service) DropFiles(ctx context.Context, req *nodev1.DropFilesRequest) (*nodev1.DropFilesResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	keeper, ok := s.transport.handler.(FileKeeper)
	if !ok {
		return nil, errNoFiles
	}
	return keeper.HandleDropFiles(ctx, req), nil
}

// chunkWriter sends what is written in pieces.
type chunkWriter struct {
	stream grpc.ServerStreamingServer[nodev1.ReadFileResponse]
}

// Write implements io.Writer.
func (w chunkWriter) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		piece := p[written:min(written+fileChunkBytes, len(p))]
		if err := w.stream.Send(&nodev1.ReadFileResponse{Data: piece}); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return len(p), nil
}
