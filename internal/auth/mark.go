package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// markPurpose keeps what passwordMark signs apart from everything else that is signed with the key of tokens.
const markPurpose = "kalamdb password mark\x00"

// passwordMark tells the passwords that an account had one after the other apart: it is computed from the stored hash, which has a
// salt of its own, so that even the same password set anew gives another mark. Whoever has a token learns nothing from it, because it
// takes the key that signs tokens. An account without a password has a mark too.
//
// The mark makes every node end the tokens of a changed password as soon as it knows of the change, without anything that would
// have to be stored, and replicated, beside the password.
func passwordMark(signing []byte, id ident.UserID, hash string) string {
	mac := hmac.New(sha256.New, signing)
	_, _ = mac.Write([]byte(markPurpose + string(id) + "\x00" + hash)) // a hash cannot fail
	const markBytes = 12
	return hex.EncodeToString(mac.Sum(nil)[:markBytes])
}

// fitsPassword reports whether the account still has the password that a token was given under. A token of an older version says nothing
// of it: it fits an account that nobody has altered since. One that does not even say when it was given was signed by somebody else who has
// the key.
func (s *Service) fitsPassword(key tokenKey, verified *claims, account *catalog.User) bool {
	if verified.Password == "" {
		return verified.IssuedAt == nil || account.UpdatedMicros/1e6 <= verified.IssuedAt.Unix()
	}
	if verified.fitted != "" && verified.fitted == account.PasswordHash {
		return true
	}
	signing, err := s.config.Secret()
	if err != nil || !hmac.Equal([]byte(verified.Password), []byte(passwordMark(signing, account.ID, account.PasswordHash))) {
		return false
	}
	verified.fitted = account.PasswordHash
	s.tokens.add(key, signing, *verified)
	return true
}
