package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"google.golang.org/grpc"
)

const forwardStreamMethod = "/kalamdb.node.v1.NodeService/ForwardStream"

// forwardStream carries proposals as nodes carry those of their clients to each other: all that wait while a message is being sent travel in the
// next, and each is answered on its own.
type forwardStream struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	wake   chan struct{} // has room for one; there is something to send
	ended  sync.WaitGroup

	mu      sync.Mutex // guards all below
	broken  error
	number  uint64 // of the last call
	queue   []forwardCall
	waiting map[uint64]chan forwardResponse // each has room for the one answer, and is closed when none comes any more
}

// mostCalls is what a node reads of one message, half of it.
const mostCalls = 512

func openForwardStream(ctx context.Context, connection *grpc.ClientConn) (*forwardStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, forwardStreamMethod,
		grpc.ForceCodecV2(forwardCodec{}))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s := &forwardStream{stream: stream, cancel: cancel, wake: make(chan struct{}, 1), waiting: make(map[uint64]chan forwardResponse)}
	s.ended.Go(func() { s.send(ctx) })
	s.ended.Go(s.receive)
	return s, nil
}

func (s *forwardStream) close() {
	s.cancel()
	s.ended.Wait()
}

var errStreamEnded = errors.New("the stream ended")

// call waits for the answer.
func (s *forwardStream) call(ctx context.Context, request *forwardRequest) (forwardResponse, error) {
	answer := make(chan forwardResponse, 1)
	s.mu.Lock()
	if s.broken != nil {
		defer s.mu.Unlock()
		return forwardResponse{}, s.broken
	}
	s.number++
	number := s.number
	s.waiting[number] = answer
	s.queue = append(s.queue, forwardCall{number: number, request: request})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return r, errStreamEnded
		}
		return r, nil
	case <-ctx.Done():
		return forwardResponse{}, ctx.Err()
	}
}

// send sends what waits until the context ends.
func (s *forwardStream) send(ctx context.Context) {
	for {
		runtime.Gosched() // those who are about to ask do so first
		for batch := s.take(); len(batch) > 0; batch = s.take() {
			if err := s.stream.SendMsg(forwardBatch(batch)); err != nil {
				return // the receiver is told why
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
	}
}

func (s *forwardStream) take() []forwardCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), mostCalls)
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	return batch
}

// receive hands out answers until the stream ends.
func (s *forwardStream) receive() {
	for {
		var answers forwardAnswers
		if err := s.stream.RecvMsg(&answers); err != nil {
			s.end(err)
			return
		}
		s.mu.Lock()
		for _, a := range answers {
			if answer := s.waiting[a.number]; answer != nil {
				delete(s.waiting, a.number)
				answer <- a.response
			}
		}
		s.mu.Unlock()
	}
}

// end tells those who wait that nobody will answer.
func (s *forwardStream) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = fmt.Errorf("%w: %w", errStreamEnded, why)
	for number, answer := range s.waiting {
		delete(s.waiting, number)
		close(answer)
	}
}
