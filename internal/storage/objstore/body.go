package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// copyChunk is how much of a body is copied between two looks at the context.
const copyChunk = 256 << 10

var errSurplus = errors.New("the body is longer than its size says")

// copyExactly copies a body of a size, or of UnknownSize and at most limit.
func copyExactly(ctx context.Context, to io.Writer, body io.Reader, size, limit int64) (int64, error) {
	buffer := make([]byte, copyChunk)
	var copied int64
	for {
		if err := ctx.Err(); err != nil {
			return copied, context.Cause(ctx)
		}
		n, err := body.Read(buffer)
		copied += int64(n)
		switch {
		case size != UnknownSize && copied > size:
			return copied, errSurplus
		case copied > limit:
			return copied, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				return copied, writeErr
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return copied, fmt.Errorf("read the body: %w", err)
		}
		if size != UnknownSize && copied < size {
			return copied, fmt.Errorf("the body has %d bytes of %d: %w", copied, size, io.ErrUnexpectedEOF)
		}
		return copied, nil
	}
}

// endOfBody fails unless a body that gave its size ends there.
func endOfBody(body io.Reader) error {
	var one [1]byte
	for range 100 {
		n, err := body.Read(one[:])
		switch {
		case n > 0:
			return errSurplus
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the body: %w", err)
		}
	}
	return io.ErrNoProgress
}
