package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// Exports gives the files that EXPORT USER DATA has written.
type Exports interface {
	// Open finds an export of a user; one that has no file is fault.NotFound.
	Open(ctx context.Context, user ident.UserID, id string) (*Export, error)
}

// Export is a file to be downloaded.
type Export struct {
	ID     string
	Bytes  int64
	SHA256 string // in hexadecimal
	// Copy writes the file. An error after a part of it, but never after all of it, says that the part must not be used.
	Copy func(ctx context.Context, to io.Writer) error
}

const (
	exportsPath      = "/v1/exports/"
	codeFileNotFound = exec.Code("FILE_NOT_FOUND")

	// Downloads under way on this node, for each user and in all; more are refused.
	downloadsPerUser = 2
	downloadsPerNode = 32
	// downloadPatience bounds a whole download. A client that takes nothing for partPatience is cut off earlier.
	downloadPatience = time.Hour
)

// exportOf takes the path of a download apart: the user and the id of the export, which may end in .zip.
func exportOf(r *http.Request) (user ident.UserID, id string, ok bool) {
	owner, id, found := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), exportsPath), "/")
	name, err := url.PathUnescape(owner)
	id = strings.TrimSuffix(id, ".zip")
	return ident.UserID(name), id, found && err == nil && name != "" && id != "" && !strings.ContainsAny(id, "/%")
}

// handleExport sends the ZIP file of an export to its owner, or to an administrator.
func (s *Server) handleExport(w http.ResponseWriter, r *http.Request) {
	started := s.config.Clock.Now()
	admin, f := s.download(w, r)
	if f == nil {
		return
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	s.writeSQLFailure(w, f, admin, started)
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) (admin bool, f *failure) {
	identity, f := s.caller(r)
	if f != nil {
		return false, f
	}
	admin = identity.User.Role.IsAdmin()
	user, id, ok := exportOf(r)
	switch {
	case identity.User.Role == session.RoleAnonymous || ok && user != identity.User.ID && !admin:
		return admin, refusal(http.StatusForbidden, exec.CodePermissionDenied, "access denied: an export is for its user")
	case !ok || s.config.Exports == nil:
		return admin, refusal(http.StatusNotFound, codeFileNotFound, "The path of an export is "+exportsPath+"{user}/{export}")
	case !s.downloads.Enter(string(identity.User.ID)):
		f = refusal(http.StatusServiceUnavailable, exec.CodeClusterUnavailable, "Too many downloads are under way; try again later")
		f.retry = true
		return admin, f
	}
	defer s.downloads.Leave(string(identity.User.ID))
	found, err := s.config.Exports.Open(r.Context(), user, id)
	if fault.KindOf(err) == fault.NotFound {
		return admin, refusal(http.StatusNotFound, codeFileNotFound, err.Error())
	}
	if err != nil {
		return admin, s.failureOf(r, err)
	}
	return admin, s.sendExport(w, r, found)
}

func (s *Server) sendExport(w http.ResponseWriter, r *http.Request, found *Export) *failure {
	header := w.Header()
	header.Set("Content-Type", "application/zip")
	header.Set("Content-Length", strconv.FormatInt(found.Bytes, 10))
	header.Set("Content-Disposition", `attachment; filename="`+found.ID+`.zip"`)
	header.Set("Etag", `"`+found.SHA256+`"`)
	header.Set("Cache-Control", "private, no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return nil
	}
	// The time of a request is for statements; a client that went away is found by the deadline of a write.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), downloadPatience)
	defer cancel()
	out := &patientWriter{w: w}
	err := found.Copy(ctx, out)
	if err == nil {
		return nil
	}
	if out.written {
		s.config.Logger.LogAttrs(ctx, slog.LevelWarn, "a download was broken off",
			slog.String("export", found.ID), slog.Any("error", err), slog.String("request_id", requestID(r)))
		panic(http.ErrAbortHandler) // nobody takes the part for the whole
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Disposition", "Etag"} {
		header.Del(name)
	}
	return s.failureOf(r, fault.New(fault.Unavailable, "the file of export '%s' cannot be read now: %w", found.ID, err))
}

// patientWriter gives each piece of a body its own time.
type patientWriter struct {
	w       http.ResponseWriter
	written bool
}

// Write implements io.Writer.
func (p *patientWriter) Write(piece []byte) (int, error) {
	p.written = true
	err := http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(partPatience))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(piece)
}
