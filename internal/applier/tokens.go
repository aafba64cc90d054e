package applier

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// MaxTokenFamilies bounds the families of refresh tokens that are remembered of a user. With one more, the one that ends first is
// forgotten: its later tokens are refused, and its first one would begin it anew.
const MaxTokenFamilies = 64

// rotateToken gives the next serial number of a family, or ends the family. A first token makes its family known; any other one of a
// family that is not known belonged to one that is forgotten. The audit log has the tokens that were shown again.
func (c *metaCall) rotateToken(body *commandv1.RotateToken) (*commandv1.Response, error) {
	user, exists := c.User(ident.UserID(body.GetUserId()))
	if !exists {
		return userNotFound(body.GetUserId()), nil
	}
	if len(body.GetFamily()) != len(catalog.TokenFamily{}.ID) {
		return command.Refuse(fault.InvalidStatement, "a family of tokens has an id of 16 bytes"), nil
	}
	id := [16]byte(body.GetFamily())
	note := c.note
	c.note = nil
	changed := *user
	changed.Families = slices.Clone(user.Families)
	changed.Families = slices.DeleteFunc(changed.Families, func(f catalog.TokenFamily) bool { return f.ExpiresMicros <= c.now })
	at := slices.IndexFunc(changed.Families, func(f catalog.TokenFamily) bool { return f.ID == id })
	switch {
	case at < 0 && body.GetSerial() > 0:
		return done("The family of tokens of user '%s' is forgotten", user.ID), nil
	case at < 0:
		if len(changed.Families) >= MaxTokenFamilies {
			oldest := slices.MinFunc(changed.Families, func(a, b catalog.TokenFamily) int { return int(min(max(a.ExpiresMicros-b.ExpiresMicros, -1), 1)) })
			changed.Families = slices.DeleteFunc(changed.Families, func(f catalog.TokenFamily) bool { return f.ID == oldest.ID })
		}
		changed.Families = append(changed.Families, catalog.TokenFamily{ID: id})
		at = len(changed.Families) - 1
	}
	family := &changed.Families[at]
	switch {
	case family.Revoked:
		return done("The family of tokens of user '%s' has ended", user.ID), nil
	case body.GetSerial() == family.Serial:
		family.Serial++
		family.RotatedMicros = c.now
	case body.GetSerial()+1 == family.Serial && c.now-family.RotatedMicros <= body.GetGraceMicros():
		// Another program that has the same token was quicker, or the answer got lost.
	default:
		family.Revoked = true
		c.note = note
	}
	family.ExpiresMicros = max(family.ExpiresMicros, body.GetExpiresMicros())
	response := done("Token of user '%s' replaced", user.ID)
	response.ObjectId = uint64(family.Serial)
	if family.Revoked {
		response = done("A token of user '%s' was shown again after it had been replaced", user.ID)
	}
	return response, c.putUser(&changed)
}
