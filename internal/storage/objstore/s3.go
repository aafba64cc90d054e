package objstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// Bounds of an S3 store.
const (
	// partBytes is the least size of a part of a large object, and the memory of one Put. Bodies up to that size
	// go in one request.
	partBytes = 8 << 20
	// maxParts is how many parts S3 allows.
	maxParts = 10_000
	// maxPartBytes bounds the memory of a Put whose size is known to be larger than maxParts small parts: 640 GB.
	maxPartBytes = 64 << 20
	// maxRequests is how many requests to one store are under way; others wait in their calls.
	maxRequests = 16
	// maxUploads is how many Puts hold a buffer; others wait.
	maxUploads = 4
	// pageObjects is how many objects one request lists.
	pageObjects = 1000
	// putMarker is the metadata by which a Put that was tried again knows its own object.
	putMarker = "Kalamdb-Put"
)

// S3Config says where a bucket is and how to reach it.
type S3Config struct {
	Endpoint string // URL such as http://127.0.0.1:9000; empty means Amazon's of the region
	Region   string // empty means us-east-1
	Bucket   string
	Prefix   string // what all keys begin with in the bucket, without a slash at the end; may be empty
	// AccessKey and SecretKey are the credentials; when both are empty, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
	// of the environment are used.
	AccessKey, SecretKey, SessionToken string
	PathStyle                          bool          // address the bucket in the path; always so for endpoints that are IP addresses
	Tries                              int           // of one request; zero means 8
	FirstPause, LastPause              time.Duration // between tries, before jitter; zero means 100 ms and 10 s
	Stall                              time.Duration // a connection that moves nothing for so long is given up; zero means 30 s
	Clock                              clock.Clock   // for the pauses; required
}

// S3 is a store in a bucket.
type S3 struct {
	cfg      S3Config
	core     *minio.Core
	requests chan struct{} // one for each request under way
	uploads  chan struct{} // one for each buffer
	http     *http.Transport
}

// OpenS3 makes a store; it sends nothing.
func OpenS3(cfg S3Config) (*S3, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("open S3 store: the bucket is missing")
	}
	if cfg.Prefix != "" {
		if err := CheckKey(cfg.Prefix); err != nil {
			return nil, fmt.Errorf("open S3 store: prefix: %w", err)
		}
		cfg.Prefix += "/"
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = "https://s3." + cfg.Region + ".amazonaws.com"
	}
	if cfg.Tries == 0 {
		cfg.Tries = 8
	}
	if cfg.FirstPause == 0 {
		cfg.FirstPause = 100 * time.Millisecond
	}
	if cfg.LastPause == 0 {
		cfg.LastPause = 10 * time.Second
	}
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" || strings.Trim(endpoint.Path, "/") != "" {
		return nil, fmt.Errorf("open S3 store: the endpoint must be a URL such as https://host:port, not %q", cfg.Endpoint)
	}
	creds := credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)
	if cfg.AccessKey == "" && cfg.SecretKey == "" {
		creds = credentials.NewEnvAWS()
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	transport := newTransport(cfg.Stall)
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: creds, Secure: endpoint.Scheme == "https", Region: cfg.Region, BucketLookup: lookup, Transport: transport,
		MaxRetries: 1, // retry is ours: bounded by the caller's deadline, for bodies too
	})
	if err != nil {
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	return &S3{
		cfg: cfg, core: core, http: transport,
		requests: make(chan struct{}, maxRequests), uploads: make(chan struct{}, maxUploads),
	}, nil
}

// Close drops the connections that wait for more requests.
func (s *S3) Close() { s.http.CloseIdleConnections() }

// newTransport makes connections that break when they stall: a request has no other limit, because a
// slow one that moves should go on.
func newTransport(stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: min(stall, 10*time.Second)}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &stallingConn{Conn: conn, stall: stall}, nil
		},
		MaxIdleConnsPerHost: maxRequests, MaxConnsPerHost: 2 * maxRequests,
		IdleConnTimeout: stall, TLSHandshakeTimeout: min(stall, 10*time.Second), ResponseHeaderTimeout: stall,
		DisableCompression: true,
	}
}

// stallingConn gives each read and write so much time. Sockets live in the machine's time, whatever clock the store has.
type stallingConn struct {
	net.Conn
	stall time.Duration
}

func (c *stallingConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(clock.Real{}.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallingConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(clock.Real{}.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	if err := s.check(key); err != nil {
		return ObjectInfo{}, err
	}
	object, err := s.stat(ctx, key)
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("stat object %s: %w", key, err)
	}
	return s.describe(object), nil
}

func (s *S3) stat(ctx context.Context, key string) (object minio.ObjectInfo, err error) {
	err = s.try(ctx, func(int) error {
		object, err = s.core.StatObject(ctx, s.cfg.Bucket, s.cfg.Prefix+key, minio.StatObjectOptions{})
		return err
	})
	return object, err
}

func (s *S3) describe(object minio.ObjectInfo) ObjectInfo {
	return ObjectInfo{
		Key: strings.TrimPrefix(object.Key, s.cfg.Prefix), Size: object.Size,
		ETag: strings.Trim(object.ETag, `"`), Modified: object.LastModified,
	}
}

// List implements Store. A page is read at once, and tried again as a whole.
func (s *S3) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	last := ""
	for more := true; more; {
		var page []ObjectInfo
		err := s.try(ctx, func(int) (err error) {
			page, more, err = s.page(ctx, prefix, last)
			return err
		})
		if err != nil {
			return fmt.Errorf("list objects %s*: %w", prefix, err)
		}
		for _, object := range page {
			if object.Key <= last {
				return fmt.Errorf("list objects %s*: the store lists %q after %q, not in the order of keys", prefix, object.Key, last)
			}
			last = object.Key
			if err := fn(object); err != nil {
				return fmt.Errorf("list objects %s*: %w", prefix, err)
			}
		}
	}
	return nil
}

// page lists the objects behind a key, at most pageObjects of them.
func (s *S3) page(ctx context.Context, prefix, after string) (page []ObjectInfo, more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := minio.ListObjectsOptions{Prefix: s.cfg.Prefix + prefix, Recursive: true, MaxKeys: pageObjects}
	if after != "" {
		opts.StartAfter = s.cfg.Prefix + after
	}
	for object := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, opts) {
		if object.Err != nil {
			return nil, false, object.Err
		}
		if page = append(page, s.describe(object)); len(page) == pageObjects {
			return page, true, nil
		}
	}
	return page, false, ctx.Err()
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := s.check(key); err != nil {
		return err
	}
	err := s.try(ctx, func(int) error {
		return s.core.RemoveObject(ctx, s.cfg.Bucket, s.cfg.Prefix+key, minio.RemoveObjectOptions{})
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	return nil
}

// Sweep implements Sweeper: it aborts uploads of parts that nobody completed.
func (s *S3) Sweep(ctx context.Context, before time.Time) (int, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the lister with us
	defer cancel()
	swept := 0
	for upload := range s.core.ListIncompleteUploads(ctx, s.cfg.Bucket, s.cfg.Prefix, true) {
		if errors.Is(judge(upload.Err), ErrNotFound) {
			break // some servers say so of a bucket without uploads
		}
		if upload.Err != nil {
			return swept, fmt.Errorf("sweep bucket %s: %w", s.cfg.Bucket, judge(upload.Err))
		}
		if !upload.Initiated.Before(before) {
			continue
		}
		err := s.try(ctx, func(int) error {
			return s.core.AbortMultipartUpload(ctx, s.cfg.Bucket, upload.Key, upload.UploadID)
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return swept, fmt.Errorf("sweep bucket %s: %w", s.cfg.Bucket, err)
		}
		swept++
	}
	return swept, nil
}

func (s *S3) check(key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(s.cfg.Prefix)+len(key) > MaxKeyBytes {
		return fmt.Errorf("%w: %q has more than %d bytes with the prefix of the store", ErrInvalidKey, key, MaxKeyBytes)
	}
	return nil
}

func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
