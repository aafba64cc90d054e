package live

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// A connection outlives what its caller was when it proved who it is. So whatever is about to be given is judged by the catalog as it is then: changes
// by good and stream.refresh, and everything before them by standing.

// accountOf finds the account of a caller and reports whether it is what it was.
func accountOf(current *catalog.Catalog, caller session.Session) (*catalog.User, bool) {
	account, ok := current.User(caller.User)
	return account, ok && !account.Deleted() && account.Role == caller.Role
}

// account finds the account of a caller, in the newest catalog before it says that there is none.
func (s *Service) account(ctx context.Context, caller session.Session) (*catalog.User, error) {
	account, ok := accountOf(s.config.Catalog.Current(), caller)
	if ok {
		return account, nil
	}
	if _, err := s.config.Barrier.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	if account, ok = accountOf(s.config.Catalog.Current(), caller); !ok {
		return nil, accountChanged()
	}
	return account, nil
}

func accountChanged() *Error {
	return refuse(CodeUnauthorized, "the account was changed; connect again")
}

// good reports whether the caller's account is what it was when the subscription was made.
func (sub *Subscription) good(current *catalog.Catalog) bool {
	if sub.checked == current {
		return true
	}
	if !sub.sameAccount(current) {
		return false
	}
	sub.checked = current
	return true
}

// sameAccount is good without remembering it. An account that was made anew under the same name is another one.
func (sub *Subscription) sameAccount(current *catalog.Catalog) bool {
	account, ok := accountOf(current, sub.caller)
	return ok && account.CreatedMicros == sub.since
}

// renew binds a subscription that is not live yet to its table as it is now: rows of the snapshot at hand may have been written since it was altered. It
// is for queries whose rows stand for themselves, and asked once there is the snapshot.
func (sub *Subscription) renew() error {
	current := sub.service.config.Catalog.Current()
	if now, ok := current.TableByID(sub.query.scope.Table.ID); !ok || now == sub.query.scope.Table {
		return nil
	}
	q, err := bind(current, sub.caller, sub.sql, sub.service.config.Clock.Now().UnixMicro(), sub.service.config.Cold)
	if err != nil {
		return judge(err, CodeFailed)
	}
	sub.query = q
	return nil
}

// standing says why a subscription that is not live yet must be given nothing more, if it must not.
func (sub *Subscription) standing() error {
	current, found := sub.service.config.Catalog.Current(), sub.query.scope.Table
	if !sub.sameAccount(current) {
		return accountChanged()
	}
	now, ok := current.TableByID(found.ID)
	switch {
	case !ok:
		return refuse(CodeNotFound, "the table was dropped")
	case now != found && !plan.CanSee(sub.caller.Role, now):
		return refuse(CodeNotFound, "table '%s' not found or access denied", now.FullName())
	}
	return nil
}
