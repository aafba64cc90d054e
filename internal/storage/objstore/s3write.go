package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Put implements Store.
func (s *S3) Put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error) {
	if err := s.check(key); err != nil {
		return ObjectInfo{}, err
	}
	info, err := s.put(ctx, key, body, size, opts)
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("put object %s: %w", key, err)
	}
	return info, nil
}

func (s *S3) put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error) {
	if err := enter(ctx, s.uploads); err != nil {
		return ObjectInfo{}, err
	}
	defer func() { <-s.uploads }()
	partSize := int64(partBytes)
	if size > partSize*maxParts {
		partSize = size/maxParts + 1
	}
	if partSize > maxPartBytes {
		return ObjectInfo{}, fmt.Errorf("%w: %d bytes; %d are allowed", ErrTooLarge, size, int64(maxPartBytes)*maxParts)
	}
	var marker [16]byte
	if _, err := rand.Read(marker[:]); err != nil {
		return ObjectInfo{}, err
	}
	w := &s3Write{s: s, key: key, marker: hex.EncodeToString(marker[:]), ifNotExists: opts.IfNotExists, part: partSize}
	return w.run(ctx, body, size)
}

// s3Write is one Put.
type s3Write struct {
	s           *S3
	key, marker string
	ifNotExists bool
	part        int64
}

// run writes a body of one part at once, a longer one part by part. One more byte than the part is read to tell.
func (w *s3Write) run(ctx context.Context, body io.Reader, size int64) (ObjectInfo, error) {
	room := w.part
	if size != UnknownSize {
		room = min(room, size)
	}
	buffer := bytes.NewBuffer(make([]byte, 0, room+bytes.MinRead))
	n, err := io.CopyN(buffer, body, room)
	switch {
	case errors.Is(err, io.EOF) && size == UnknownSize:
		return w.single(ctx, buffer.Bytes())
	case errors.Is(err, io.EOF):
		return ObjectInfo{}, fmt.Errorf("the body has %d bytes of %d: %w", n, size, io.ErrUnexpectedEOF)
	case err != nil:
		return ObjectInfo{}, fmt.Errorf("read the body: %w", err)
	case size == room:
		if err := endOfBody(body); err != nil {
			return ObjectInfo{}, err
		}
		return w.single(ctx, buffer.Bytes())
	}
	return w.multipart(ctx, buffer, body, size)
}

func (w *s3Write) options() minio.PutObjectOptions {
	opts := minio.PutObjectOptions{
		UserMetadata: map[string]string{putMarker: w.marker}, ContentType: "application/octet-stream",
		DisableContentSha256: true, // of chunks; the whole body has its own
	}
	if w.ifNotExists {
		opts.SetMatchETagExcept("*")
	}
	return opts
}

func (w *s3Write) single(ctx context.Context, content []byte) (ObjectInfo, error) {
	var uploaded minio.UploadInfo
	digest, tries := sha256Hex(content), 0
	err := w.s.try(ctx, func(try int) (err error) {
		tries = try
		uploaded, err = w.s.core.PutObject(ctx, w.s.cfg.Bucket, w.s.cfg.Prefix+w.key, bytes.NewReader(content), int64(len(content)),
			"", digest, w.options())
		return err
	})
	return w.outcome(ctx, uploaded, int64(len(content)), tries, err)
}

// outcome reads the answer to a write. When an earlier try was done and its answer lost, the object that a later
// one finds is its own.
func (w *s3Write) outcome(ctx context.Context, uploaded minio.UploadInfo, size int64, tries int, err error) (ObjectInfo, error) {
	switch {
	case err == nil && uploaded.ETag != "":
		return ObjectInfo{Key: w.key, Size: size, ETag: strings.Trim(uploaded.ETag, `"`), Modified: uploaded.LastModified}, nil
	case err != nil && (tries == 0 || !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound)):
		return ObjectInfo{}, err
	}
	object, statErr := w.s.stat(ctx, w.key)
	switch {
	case statErr != nil && err == nil:
		return ObjectInfo{}, statErr
	case err != nil && (statErr != nil || object.UserMetadata[putMarker] != w.marker):
		return ObjectInfo{}, err
	}
	return w.s.describe(object), nil
}

// multipart sends the first part, which was read, and the others.
func (w *s3Write) multipart(ctx context.Context, buffer *bytes.Buffer, body io.Reader, size int64) (ObjectInfo, error) {
	if w.ifNotExists {
		// Completing the parts decides; this saves the work, and is all there is with servers that know the condition
		// only of whole objects.
		switch _, err := w.s.stat(ctx, w.key); {
		case err == nil:
			return ObjectInfo{}, ErrExists
		case !errors.Is(err, ErrNotFound):
			return ObjectInfo{}, err
		}
	}
	bucket, name := w.s.cfg.Bucket, w.s.cfg.Prefix+w.key
	var upload string
	err := w.s.try(ctx, func(int) (err error) {
		opts := w.options()
		if w.ifNotExists {
			opts = minio.PutObjectOptions{UserMetadata: opts.UserMetadata, ContentType: opts.ContentType}
		}
		upload, err = w.s.core.NewMultipartUpload(ctx, bucket, name, opts)
		return err
	})
	if err != nil {
		return ObjectInfo{}, err
	}
	parts, written, err := w.parts(ctx, upload, buffer, body, size)
	if err == nil {
		var uploaded minio.UploadInfo
		tries := 0
		err = w.s.try(ctx, func(try int) (err error) {
			tries = try
			opts := minio.PutObjectOptions{}
			if w.ifNotExists {
				opts.SetMatchETagExcept("*")
			}
			uploaded, err = w.s.core.CompleteMultipartUpload(ctx, bucket, name, upload, parts, opts)
			return err
		})
		var info ObjectInfo
		if info, err = w.outcome(ctx, uploaded, written, tries, err); err == nil {
			return info, nil
		}
		if errors.Is(err, ErrUnavailable) {
			return ObjectInfo{}, err // it may be complete; Sweep removes it otherwise
		}
	}
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.s.cfg.Stall)
	defer cancel()
	_ = w.s.core.AbortMultipartUpload(quiet, bucket, name, upload) // the first error is the one that matters; Sweep finds what is left
	return ObjectInfo{}, err
}

func (w *s3Write) parts(
	ctx context.Context, upload string, buffer *bytes.Buffer, body io.Reader, size int64,
) (parts []minio.CompletePart, written int64, err error) {
	for last := false; !last; {
		if len(parts) == maxParts {
			return nil, 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, written)
		}
		if len(parts) > 0 {
			buffer.Reset()
			n, err := io.CopyN(buffer, body, w.part)
			if last = errors.Is(err, io.EOF); err != nil && !last {
				return nil, 0, fmt.Errorf("read the body: %w", err)
			}
			if n == 0 {
				break
			}
		}
		content := buffer.Bytes()
		written += int64(len(content))
		if size != UnknownSize && written > size {
			return nil, 0, errSurplus
		}
		var part minio.ObjectPart
		opts := minio.PutObjectPartOptions{Sha256Hex: sha256Hex(content), DisableContentSha256: true}
		err := w.s.try(ctx, func(int) (err error) {
			part, err = w.s.core.PutObjectPart(ctx, w.s.cfg.Bucket, w.s.cfg.Prefix+w.key, upload, len(parts)+1,
				bytes.NewReader(content), int64(len(content)), opts)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
	}
	if size != UnknownSize && written < size {
		return nil, 0, fmt.Errorf("the body has %d bytes of %d: %w", written, size, io.ErrUnexpectedEOF)
	}
	return parts, written, nil
}

// sha256Hex is what S3 checks a body against.
func sha256Hex(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
