package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// openAPI builds authentication, SQL and HTTP, and starts the listener for clients.
func (n *Node) openAPI(ctx context.Context, listener net.Listener) error {
	if listener == nil {
		addr := net.JoinHostPort(n.cfg.Server.Host, strconv.Itoa(n.cfg.Server.Port))
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
			return fmt.Errorf("server.host, server.port = %s: %w", addr, err)
		}
	}
	n.apiAddr = listener.Addr().String()
	secret, err := n.tokenSecret()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := n.buildAPI(secret); err != nil {
		return errors.Join(err, listener.Close())
	}
	n.spawn(func() {
		if err := n.api.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("serve clients: %w", err))
		}
	})
	return nil
}

func (n *Node) buildAPI(secret auth.SecretSource) error {
	a := n.cfg.Auth
	var issuers []auth.Issuer
	if a.IssuersFile != "" {
		var err error
		if issuers, err = auth.LoadIssuers(a.IssuersFile); err != nil {
			return fmt.Errorf("auth.issuers_file: %w", err)
		}
	}
	users, err := auth.New(auth.Config{
		Catalog: n.catalog, Executor: n.exec, Clock: n.clock, Secret: secret,
		AccessLife:  time.Duration(a.JWTExpiryHours) * time.Hour,
		RefreshLife: time.Duration(a.JWTRefreshExpiryHours) * time.Hour,
		BcryptCost:  a.BcryptCost, MinPassword: a.MinPasswordLength, MaxPassword: a.MaxPasswordLength,
		ComplexityRule: a.EnforcePasswordComplexity, LockoutFailures: a.LockoutFailures,
		RefreshGrace: time.Duration(a.RefreshGraceSecs) * time.Second, ReuseRefreshTokens: a.ReuseRefreshTokens,
		Issuers:    issuers,
		LockoutFor: time.Duration(a.LockoutMinutes) * time.Minute, AuditEntries: uint32(a.AuditLogEntries),
	})
	if err != nil {
		return err
	}
	view := clusterView{n}
	engine, err := exec.New(exec.Deps{
		Catalog: n.catalog, Storage: n.store, Executor: n.exec, Clock: n.clock, Cluster: view, Passwords: users,
		Admin: n.clusterAdmin(), Live: liveQueries{n},
		Random: n.random, Node: ident.NodeID(n.cfg.Cluster.NodeID),
		Sockets: n.sessions, Elsewhere: n.sessionsElsewhere, LocalElsewhere: n.localElsewhere(), Logs: n.logs.list,
		Cold:         n.cold,
		Storages:     storageProber{set: n.storages, clock: n.clock},
		AuditEntries: uint32(a.AuditLogEntries), UserCleanup: time.Duration(a.UserCleanupDelaySecs) * time.Second, Logger: n.logger.With(slog.String("part", "sql")),
		AppliedIndex: multiraft.ReadApplied, Settings: settingRows(n.cfg), Stats: n.statRows,
		Transactions: n.transactionLimits(),
		Limits:       n.sqlLimits(),
	})
	if err != nil {
		return err
	}
	n.metrics.Register(newGroupCollector(n))
	n.users, n.sql = users, engine
	n.buildJobs(engine)
	if err = n.live.open(n); err != nil {
		return err
	}
	n.api, err = httpapi.New(httpapi.Config{
		Settings: n.cfg, SQL: engine, Auth: admittedAuth{n, users}, Health: view, Metrics: n.metrics,
		Logger: n.logger.With(slog.String("part", "api")), Clock: n.clock, Live: n.live.sockets, Exports: downloads{n}, Build: n.build,
	})
	return err
}

func (n *Node) transactionLimits() txn.Limits {
	t := n.cfg.Transaction
	return txn.Limits{
		MaxBytes: t.MaxBytes, Timeout: time.Duration(t.TimeoutSeconds) * time.Second,
		IdleTimeout: time.Duration(t.IdleTimeoutSeconds) * time.Second, PerUser: t.MaxPerUser, PerNode: t.MaxPerNode,
	}
}

// settingRows are the rows of system.settings; secrets are masked.
func settingRows(cfg *config.Config) []table.Setting {
	described := config.Describe(cfg)
	rows := make([]table.Setting, len(described))
	for i, s := range described {
		category, _, _ := strings.Cut(s.Name, ".")
		value := s.Value
		if text, err := strconv.Unquote(value); err == nil {
			value = text // a text is shown as it is, not as the file spells it
		}
		rows[i] = table.Setting{Name: s.Name, Value: value, Description: s.Doc, Category: category}
	}
	return rows
}

// tokenSecret chooses the key that signs tokens: the configured one; a key of its own for a standalone node
// on loopback; for a cluster on loopback, one that all nodes derive alike.
func (n *Node) tokenSecret() (auth.SecretSource, error) {
	configured, loopback := n.cfg.Auth.JWTSecret, n.cfg.Server.Loopback()
	if configured != "" {
		warning, err := auth.CheckSecret(configured, loopback)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			n.logger.Warn("auth.jwt_secret is weak", slog.String("warning", warning))
		}
		return auth.FixedSecret(configured), nil
	}
	if !loopback {
		return nil, fmt.Errorf("auth.jwt_secret is empty: a server that listens on %q needs one of at least 32 characters",
			n.cfg.Server.Host)
	}
	if n.cfg.Standalone() {
		secret, err := auth.StoredSecret(n.cfg.Storage.DataPath)
		if err != nil {
			return nil, err
		}
		return auth.FixedSecret(secret), nil
	}
	n.logger.Warn("auth.jwt_secret is empty: tokens are signed with a key that the nodes derive; configure one before leaving loopback")
	return auth.DerivedSecret(n.catalog), nil
}

// admittedAuth refuses callers as long as this node knows no accounts, so that nobody is told that a correct
// password is wrong.
type admittedAuth struct {
	n *Node
	*auth.Service
}

func (a admittedAuth) ready() error {
	picture := a.n.catalog.Current()
	if picture.Cluster() == nil {
		return notAdmitted()
	}
	if _, ok := picture.User(auth.RootUser); !ok {
		return noAccountsYet()
	}
	return nil
}

// Authenticate implements httpapi.Authenticator.
func (a admittedAuth) Authenticate(ctx context.Context, token string) (auth.Identity, error) {
	if err := a.ready(); err != nil {
		return auth.Identity{}, err
	}
	return a.Service.Authenticate(ctx, token)
}

// Login implements httpapi.Authenticator.
func (a admittedAuth) Login(ctx context.Context, user ident.UserID, password string) (auth.Grant, error) {
	if err := a.ready(); err != nil {
		return auth.Grant{}, err
	}
	return a.Service.Login(ctx, user, password)
}
