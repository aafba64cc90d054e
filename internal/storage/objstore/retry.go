package objstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// errBeyondEnd says that a range begins behind the end of its object.
var errBeyondEnd = errors.New("the range begins behind the end")

// judge turns an answer of S3 into an error that says what a caller can do. Other answers remain as they are.
func judge(err error) error {
	response := minio.ToErrorResponse(err)
	switch response.Code {
	case "NoSuchKey", "NoSuchUpload":
		return fmt.Errorf("%w: %s", ErrNotFound, response.Message)
	case "PreconditionFailed":
		return ErrExists
	case "InvalidRange":
		return errBeyondEnd
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccountProblem", "AllAccessDisabled", "Forbidden":
		return fmt.Errorf("%w: %s: %s", ErrDenied, response.Code, response.Message)
	case "EntityTooLarge":
		return fmt.Errorf("%w: %s", ErrTooLarge, response.Message)
	}
	switch response.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return fmt.Errorf("%w: %s", ErrDenied, response.Code)
	case http.StatusRequestedRangeNotSatisfiable:
		return errBeyondEnd
	case http.StatusPreconditionFailed:
		return ErrExists
	}
	return err
}

// passes reports whether an answer is one that another try may not get: the store is busy or broken, or the connection was.
func passes(err error) bool {
	if errors.Is(err, errReplaced) {
		return false
	}
	response := minio.ToErrorResponse(err)
	if response.StatusCode == 0 {
		// No answer of S3. What the client itself refuses, it refuses for ever.
		return response.Code != "InvalidArgument" && response.Code != "InvalidBucketName" && response.Code != "EntityTooSmall"
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusConflict:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return response.StatusCode >= http.StatusInternalServerError || response.Code == "RequestTimeout" || response.Code == "SlowDown"
}

// try sends a request until it gets an answer that does not pass, its tries are used up, or the deadline is nearer than the next
// try. do is told how many tries there were before.
func (s *S3) try(ctx context.Context, do func(try int) error) error {
	for try := 0; ; try++ {
		if err := enter(ctx, s.requests); err != nil {
			return err
		}
		err := do(try)
		<-s.requests
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, context.Cause(ctx), err)
		}
		if judged := judge(err); !errors.Is(judged, err) || !passes(err) {
			return judged
		}
		if try+1 >= s.cfg.Tries {
			return fmt.Errorf("%w: gave up after %d tries: %w", ErrUnavailable, try+1, err)
		}
		if pauseErr := s.pause(ctx, try+1); pauseErr != nil {
			return fmt.Errorf("%w: %w", pauseErr, err)
		}
	}
}

// pause waits before the given try: between half of a doubled pause and the whole of it, so that many callers do not return
// at once. It fails at once when the deadline comes first.
func (s *S3) pause(ctx context.Context, try int) error {
	length := s.cfg.LastPause
	if doubled := s.cfg.FirstPause << min(try-1, 20); doubled < length {
		length = doubled
	}
	length = length/2 + time.Duration(rand.Int64N(int64(length/2)+1)) //nolint:gosec // who guesses a pause gains nothing
	if deadline, ok := ctx.Deadline(); ok && clock.Left(deadline) < length {
		return fmt.Errorf("%w: the deadline comes before try %d", ErrUnavailable, try+1)
	}
	if clock.Pause(ctx, s.cfg.Clock, length) != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	return nil
}
