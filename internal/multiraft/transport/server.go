package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// maxServerStreams bounds the streams and calls of one connection that run at the same time; more wait
// at the sender.
const maxServerStreams = 4096

// maxServerHeader bounds the metadata of a call, in bytes.
const maxServerHeader = 16 << 10

// service is the receiving side of a transport.
type service struct {
	nodev1.UnimplementedNodeServiceServer
	transport *GRPC
	received  [laneCount]traffic
}

func newServer(t *GRPC) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(t.codec),
		grpc.MaxRecvMsgSize(t.messageLimit()), grpc.MaxSendMsgSize(t.messageLimit()),
		grpc.MaxConcurrentStreams(maxServerStreams), grpc.MaxHeaderListSize(maxServerHeader),
		grpc.ConnectionTimeout(t.cfg.DialTimeout),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: t.cfg.KeepaliveTime / 2, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: t.cfg.KeepaliveTime, Timeout: t.cfg.KeepaliveTimeout}),
		grpc.WaitForHandlers(true),
	}
	if t.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(t.tls.server)))
	}
	server := grpc.NewServer(options...)
	s := &service{transport: t}
	for lane := range Lane(laneCount) {
		s.received[lane] = t.metrics.traffic("received", lane)
	}
	desc := nodev1.NodeService_ServiceDesc
	desc.Streams = append([]grpc.StreamDesc{{
		StreamName: "Raft", Handler: s.raft, ClientStreams: true, ServerStreams: true,
	}}, desc.Streams...)
	server.RegisterService(&desc, s)
	return server
}

// admit decides whether a member's stream or call is served, and returns who it is from.
func (s *service) admit(ctx context.Context) (own Identity, from ident.ReplicaID, err error) {
	own = s.transport.self()
	h, err := receiveHello(ctx)
	if err != nil {
		return own, 0, s.refuse(ctx, &refusal{reason: refusedMalformed, sentence: err.Error()})
	}
	if r := h.check(own); r != nil {
		return own, 0, s.refuse(ctx, r)
	}
	if r := s.checkCertificate(ctx, h.from); r != nil {
		return own, 0, s.refuse(ctx, r)
	}
	if h.tell(s.transport.handler) {
		s.transport.moved(h.from, h.address)
	}
	return own, h.from, nil
}

// checkCertificate compares the peer's certificate with the replica it claims to be.
func (s *service) checkCertificate(ctx context.Context, from ident.ReplicaID) *refusal {
	return s.shown(ctx, func(cert *x509.Certificate) error { return s.transport.tls.checkPeer(cert, from) })
}

// checkJoinCertificate wants a node to join as the one that its certificate names.
func (s *service) checkJoinCertificate(ctx context.Context, node uint64) *refusal {
	return s.shown(ctx, func(cert *x509.Certificate) error {
		named, err := certificateNode(cert, s.transport.tls.clusterID)
		if err == nil && uint64(named) != node {
			err = fmt.Errorf("certificate is of node %d, and cannot be used to join as node %d", named, node)
		}
		return err
	})
}

// shown checks the certificate that a peer shows, where peers have to show one.
func (s *service) shown(ctx context.Context, check func(*x509.Certificate) error) *refusal {
	secure := s.transport.tls
	if secure == nil || !secure.mutual {
		return nil
	}
	cert, err := peerCertificate(ctx)
	if err == nil {
		err = check(cert)
	}
	if err != nil {
		return &refusal{reason: refusedCertificate, denied: true, sentence: err.Error()}
	}
	return nil
}

// peerCertificate returns the certificate that the caller showed; the handshake has verified it.
func peerCertificate(ctx context.Context) (*x509.Certificate, error) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil, errors.New("the connection has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, errors.New("the connection has no client certificate")
	}
	return info.State.PeerCertificates[0], nil
}

// refuse counts and logs a refusal and makes it a status.
func (s *service) refuse(ctx context.Context, r *refusal) error {
	t := s.transport
	t.metrics.refused.WithLabelValues(r.reason).Inc()
	addr := ""
	if p, ok := grpcpeer.FromContext(ctx); ok {
		addr = p.Addr.String()
	}
	t.cfg.Logger.Warn("peer refused", slog.String("addr", addr), slog.String("reason", r.reason), slog.Any("error", r))
	code := codes.FailedPrecondition
	if r.denied {
		code = codes.PermissionDenied
	}
	return status.Error(code, r.sentence)
}

// raft receives the frames of one stream until it ends. The peer is told nothing but that it is accepted.
func (s *service) raft(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	own, from, err := s.admit(ctx)
	if err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	name := ""
	if values := md.Get(metadataLane); len(values) == 1 {
		name = values[0]
	}
	lane, err := parseLane(name)
	if err != nil {
		return s.refuse(ctx, &refusal{reason: refusedMalformed, sentence: err.Error()})
	}
	if err := stream.SendHeader(metadata.Pairs(metadataAccepted, "1")); err != nil {
		return fmt.Errorf("accept stream of replica %d: %w", from, err)
	}
	ended := make(chan error, 1)
	s.transport.readers.Go(func() { ended <- s.readFrames(stream, own.Replica, from, lane) })
	select {
	case err := <-ended:
		return err
	case <-s.transport.ending: // returning ends the stream, and with it the reader
		return status.Error(codes.Unavailable, "this node is shutting down")
	}
}

// readFrames hands the messages of a stream to the handler until the stream ends or is refused.
func (s *service) readFrames(stream grpc.ServerStream, own, from ident.ReplicaID, lane Lane) error {
	ctx := stream.Context()
	for {
		var frame inFrame
		if err := stream.RecvMsg(&frame); err != nil {
			if status.Code(err) == codes.ResourceExhausted {
				return s.refuse(ctx, &refusal{reason: refusedFrame, sentence: status.Convert(err).Message()})
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		msgs, err := decodeFrame(frame.data, s.transport.cfg.Limits.FrameLimit)
		if err != nil {
			return s.refuse(ctx, &refusal{reason: refusedFrame, sentence: err.Error()})
		}
		if r := checkMessages(msgs, from, own); r != nil {
			return s.refuse(ctx, r)
		}
		s.received[lane].count(len(frame.data), len(msgs))
		if len(msgs) > 0 {
			s.transport.handler.HandleMessages(from, msgs)
		}
	}
}

// enter lets a call in unless the node is stopping.
func (s *service) enter(ctx context.Context) error {
	if s.transport.calls.enter() {
		return nil
	}
	return s.refuse(ctx, &refusal{reason: refusedStopping, sentence: "this node is shutting down"})
}

// begin admits a member, says who it is, and lets its call in; leave of the gate must follow unless it fails.
func (s *service) begin(ctx context.Context) (from ident.ReplicaID, err error) {
	if _, from, err = s.admit(ctx); err != nil {
		return 0, err
	}
	return from, s.enter(ctx)
}

// GetNodeInfo implements nodev1.NodeServiceServer. Strangers may call it.
func (s *service) GetNodeInfo(ctx context.Context, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	return s.transport.handler.HandleNodeInfo(ctx, req), nil
}

// Join implements nodev1.NodeServiceServer. Strangers may call it.
func (s *service) Join(ctx context.Context, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	if r := s.checkJoinCertificate(ctx, req.GetNodeId()); r != nil {
		return nil, s.refuse(ctx, r)
	}
	return s.transport.handler.HandleJoin(ctx, req), nil
}

// Forward implements nodev1.NodeServiceServer.
func (s *service) Forward(ctx context.Context, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	return s.transport.handler.HandleForward(ctx, req), nil
}

// InstallSnapshot implements nodev1.NodeServiceServer.
func (s *service) InstallSnapshot(stream grpc.ClientStreamingServer[nodev1.InstallSnapshotRequest, nodev1.InstallSnapshotResponse]) error {
	ctx := stream.Context()
	own, from, err := s.admit(ctx)
	if err != nil {
		return err
	}
	if err = s.enter(ctx); err != nil {
		return err
	}
	defer s.transport.calls.leave()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if r := checkSnapshotHeader(header, from, own.Replica); r != nil {
		return s.refuse(ctx, r)
	}
	received := s.transport.metrics.snapshots.WithLabelValues("received")
	sink := &chunkSink{limit: s.transport.cfg.Limits.SnapshotChunk, recv: func() (*nodev1.SnapshotChunk, error) {
		req, recvErr := stream.Recv()
		if recvErr != nil {
			return nil, recvErr
		}
		received.Add(float64(len(req.GetChunk().GetData())))
		return req.GetChunk(), nil
	}}
	if err = s.transport.handler.HandleSnapshot(ctx, header, sink.next); err != nil {
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMalformed) {
			s.transport.metrics.refused.WithLabelValues(refusedSnapshot).Inc()
		}
		return status.Errorf(codes.Aborted, "snapshot of %d at index %d was not installed: %v", header.GetGroup(), header.GetIndex(), err)
	}
	return stream.SendAndClose(&nodev1.InstallSnapshotResponse{})
}

// checkSnapshotHeader holds the header against its stream.
func checkSnapshotHeader(header *nodev1.SnapshotHeader, from, to ident.ReplicaID) *refusal {
	switch {
	case header == nil:
		return &refusal{reason: refusedSnapshot, sentence: "the first part of a snapshot must be its header"}
	case header.GetFrom() != uint64(from) || header.GetTo() != uint64(to):
		return &refusal{reason: refusedSnapshot, denied: true, sentence: fmt.Sprintf(
			"snapshot from replica %d to %d on the stream of replica %d to %d", header.GetFrom(), header.GetTo(), from, to)}
	}
	return nil
}

// chunkSink checks the chunks of a snapshot. The first error and the end stick.
type chunkSink struct {
	recv     func() (*nodev1.SnapshotChunk, error)
	limit    int
	sequence uint64
	last     bool
	err      error
}

func (s *chunkSink) next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.last {
		s.err = io.EOF
		return nil, s.err
	}
	data, err := s.check()
	if err != nil {
		s.err = err
		return nil, err
	}
	if s.last && len(data) == 0 {
		s.err = io.EOF
		return nil, s.err
	}
	return data, nil
}

func (s *chunkSink) check() ([]byte, error) {
	chunk, err := s.recv()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("stream ended before chunk %d: %w", s.sequence, io.ErrUnexpectedEOF)
	case err != nil:
		return nil, fmt.Errorf("stream broke before chunk %d: %w", s.sequence, err)
	case chunk == nil:
		return nil, fmt.Errorf("part %d of the snapshot is no chunk: %w", s.sequence, ErrMalformed)
	case chunk.GetSequence() != s.sequence:
		return nil, fmt.Errorf("chunk %d where %d was due: %w", chunk.GetSequence(), s.sequence, ErrMalformed)
	case len(chunk.GetData()) > s.limit:
		return nil, fmt.Errorf("chunk %d has %d bytes, limit %d: %w", s.sequence, len(chunk.GetData()), s.limit, ErrMalformed)
	case checksum(chunk.GetData()) != chunk.GetCrc32C():
		return nil, fmt.Errorf("chunk %d: %w", s.sequence, ErrCorrupt)
	}
	s.sequence++
	s.last = chunk.GetLast()
	return chunk.GetData(), nil
}
