package auth

import (
	"context"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// LoginFailed is the audit log's word for a failed login that was counted. Failures of unknown users and of
// locked accounts are not: anybody could fill the log with them.
const LoginFailed = "LOGIN_FAILED"

// TokenReused is the audit log's word for a refresh token that was shown again after it had been replaced.
const TokenReused = "TOKEN_REUSED"

// Logout is the audit log's word for a logout that ended the tokens of a login.
const Logout = "LOGOUT"

type addressKey struct{}

// WithAddress returns a context that says where a caller comes from, for the audit log.
func WithAddress(ctx context.Context, clientIP string) context.Context {
	return context.WithValue(ctx, addressKey{}, clientIP)
}

// note is what the audit log says of a command.
func (s *Service) note(ctx context.Context, cmd *commandv1.Command) *commandv1.AuditNote {
	note := &commandv1.AuditNote{Keep: s.config.AuditEntries}
	note.IpAddress, _ = ctx.Value(addressKey{}).(string)
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_RecordLogin:
		note.Action, note.Target = LoginFailed, body.RecordLogin.GetId()
	case *commandv1.Command_CreateUser:
		note.Action, note.Target = "CREATE_USER", body.CreateUser.GetUser().GetId()
	case *commandv1.Command_AlterUser:
		note.Action, note.Target = "ALTER_USER", body.AlterUser.GetId()
	case *commandv1.Command_RotateToken:
		note.Action, note.Target = TokenReused, body.RotateToken.GetUserId()
	default:
		return nil
	}
	note.Subject = note.GetTarget()
	if note.GetKeep() == 0 {
		return nil
	}
	return note
}
