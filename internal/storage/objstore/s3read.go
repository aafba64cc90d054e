package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

var errReplaced = errors.New("the object was replaced while it was read")

// Get implements Store.
func (s *S3) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := s.check(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("get object %s: the offset %d is negative", key, offset)
	}
	if length == 0 {
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	r := &s3Range{s: s, ctx: ctx, key: key, next: offset, rest: length}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("get object %s: %w", key, err)
	}
	return r, nil
}

// s3Range reads a part of an object. When the connection breaks it asks for what is missing, of the same content.
type s3Range struct {
	s      *S3
	ctx    context.Context //nolint:containedctx // Get promises that its context governs the reading
	key    string
	next   int64 // offset of the next byte
	rest   int64 // bytes to come; negative: to the end
	etag   string
	body   io.ReadCloser
	breaks int // since a byte came
}

// open asks for what is to come.
func (r *s3Range) open() error {
	var opts minio.GetObjectOptions
	switch {
	case r.rest >= 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", r.next, r.next+r.rest-1))
	case r.next > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", r.next))
	}
	if r.etag != "" {
		if err := opts.SetMatchETag(r.etag); err != nil {
			return err
		}
	}
	err := r.s.try(r.ctx, func(int) error {
		body, object, _, err := r.s.core.GetObject(r.ctx, r.s.cfg.Bucket, r.s.cfg.Prefix+r.key, opts)
		if err != nil {
			return err
		}
		if r.etag != "" && object.ETag != r.etag { // not every server knows the condition
			_ = body.Close() // nothing of it is wanted
			return errReplaced
		}
		r.body, r.etag = body, object.ETag
		return nil
	})
	if errors.Is(err, errBeyondEnd) {
		r.body, r.rest = io.NopCloser(bytes.NewReader(nil)), 0
		return nil
	}
	return err
}

func (r *s3Range) Read(p []byte) (int, error) {
	if r.rest == 0 || len(p) == 0 {
		return 0, eofIf(r.rest == 0)
	}
	for {
		n, err := r.body.Read(p)
		r.next += int64(n)
		if r.rest > 0 {
			r.rest -= int64(n)
		}
		switch {
		case n > 0:
			r.breaks = 0
			return n, nil // the next call meets the error again
		case err == nil:
			return 0, nil
		case errors.Is(err, io.EOF):
			return 0, err
		case r.ctx.Err() != nil:
			return 0, context.Cause(r.ctx)
		}
		if r.breaks++; r.breaks >= r.s.cfg.Tries {
			return 0, fmt.Errorf("get object %s: %w: the connection broke %d times at byte %d: %w", r.key, ErrUnavailable, r.breaks, r.next, err)
		}
		_ = r.body.Close() // it is broken
		if err := r.s.pause(r.ctx, r.breaks); err != nil {
			return 0, fmt.Errorf("get object %s: %w", r.key, err)
		}
		if err := r.open(); err != nil {
			return 0, fmt.Errorf("get object %s from byte %d: %w", r.key, r.next, err)
		}
	}
}

func eofIf(end bool) error {
	if end {
		return io.EOF
	}
	return nil
}

func (r *s3Range) Close() error { return r.body.Close() }
