package transport

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// tlsFiles reads the files of a TLSConfig, and again when one of them has changed, so that certificates are
// renewed without a restart. It looks at every handshake; those are rare. Files that cannot be used are
// reported and leave what was read before in force: a half-written renewal must not take a node down.
type tlsFiles struct {
	cfg    TLSConfig
	logger *slog.Logger

	mu     sync.Mutex // guards all below
	stamps [3]fileStamp
	pair   *tls.Certificate
	pool   *x509.CertPool
}

// fileStamp tells two contents of a file apart without reading it.
type fileStamp struct {
	modified time.Time
	size     int64
}

// openTLSFiles reads the files for the first time; then an error is final.
func openTLSFiles(cfg TLSConfig, logger *slog.Logger) (*tlsFiles, error) {
	f := &tlsFiles{cfg: cfg, logger: logger}
	var err error
	if f.stamps, err = f.stamp(); err != nil {
		return nil, err
	}
	f.pair, f.pool, err = f.read()
	return f, err
}

// current returns the certificate of this node and the authorities it trusts.
func (f *tlsFiles) current() (*tls.Certificate, *x509.CertPool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamps, err := f.stamp()
	if err == nil && stamps == f.stamps {
		return f.pair, f.pool
	}
	var pair *tls.Certificate
	var pool *x509.CertPool
	if err == nil {
		pair, pool, err = f.read()
	}
	if err != nil {
		f.logger.Warn("changed certificate files cannot be used; the former ones stay in force", slog.Any("error", err))
		return f.pair, f.pool
	}
	f.stamps, f.pair, f.pool = stamps, pair, pool
	f.logger.Info("certificates were read again", slog.Time("valid_until", pair.Leaf.NotAfter))
	return f.pair, f.pool
}

func (f *tlsFiles) stamp() (stamps [3]fileStamp, err error) {
	for i, path := range []string{f.cfg.CAFile, f.cfg.CertFile, f.cfg.KeyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return stamps, fmt.Errorf("look at certificates: %w", err)
		}
		stamps[i] = fileStamp{modified: info.ModTime(), size: info.Size()}
	}
	return stamps, nil
}

func (f *tlsFiles) read() (*tls.Certificate, *x509.CertPool, error) {
	authorities, err := os.ReadFile(f.cfg.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, nil, fmt.Errorf("certificate authorities %s: no certificate in PEM form", f.cfg.CAFile)
	}
	pair, err := tls.LoadX509KeyPair(f.cfg.CertFile, f.cfg.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate of this node: %w", err)
	}
	return &pair, pool, nil
}
