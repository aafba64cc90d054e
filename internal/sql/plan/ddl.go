package plan

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func lower(s string) string { return strings.ToLower(s) }

func (e *Environment) createNamespace(node *parse.CreateNamespace) (Statement, error) {
	name := node.Name.Name
	if err := checkObjectName(node.Name, "namespace", name); err != nil {
		// A reserved namespace may exist already; IF NOT EXISTS is then no news.
		if _, exists := e.Catalog.Namespace(name); !exists || !node.IfNotExists {
			return nil, err
		}
	}
	if _, exists := e.Catalog.Namespace(name); !exists && schema.IsReservedNamespace(name) {
		return nil, invalid(node.Name, "namespace name '%s' is reserved", name)
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{
			Name: name, IfNotExists: node.IfNotExists,
		}}},
	}, nil
}

func (e *Environment) dropNamespace(node *parse.DropNamespace) (Statement, error) {
	name := node.Name.Name
	if schema.IsReservedNamespace(name) {
		return nil, invalid(node.Name, "namespace '%s' is reserved and cannot be dropped", name)
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_DropNamespace{DropNamespace: &commandv1.DropNamespace{
			Name: name, IfExists: node.IfExists, Cascade: node.Cascade,
		}}},
	}, nil
}

func (e *Environment) alterNamespace(node *parse.AlterNamespace) (Statement, error) {
	options := map[string]string{}
	for _, option := range node.Options {
		if option.Name == "" || len(option.Name) > maxNameBytes {
			return nil, invalid(option, "the name of an option has 1 to %d bytes", maxNameBytes)
		}
		if _, twice := options[option.Name]; twice {
			return nil, invalid(option, "option %s is given twice", strings.ToUpper(option.Name))
		}
		value, err := optionText(option)
		if err != nil {
			return nil, err
		}
		if len(value) > maxOptionBytes {
			return nil, invalid(option, "the value of option %s is longer than %d bytes", strings.ToUpper(option.Name), maxOptionBytes)
		}
		options[option.Name] = value
	}
	if len(options) == 0 {
		return nil, invalid(node, "ALTER NAMESPACE ... SET OPTIONS needs an option")
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_AlterNamespace{AlterNamespace: &commandv1.AlterNamespace{
			Name: node.Name.Name, Options: options,
		}}},
	}, nil
}

// maxOptionBytes bounds the value of an option of a namespace.
const maxOptionBytes = 4096

func (e *Environment) useNamespace(node *parse.UseNamespace) (Statement, error) {
	name := node.Name.Name
	_, exists := e.Catalog.Namespace(name)
	if !exists && !table.IsViewNamespace(name) {
		return nil, at(node.Name, fault.New(fault.NotFound, "namespace '%s' not found", name))
	}
	return &SetNamespace{Namespace: name}, nil
}

func (e *Environment) dropTable(node *parse.DropTable) (Statement, error) {
	namespace, name := e.tableName(node.Name)
	if table.IsViewNamespace(namespace) {
		return nil, at(node.Name, fault.New(fault.PermissionDenied, "access denied: system tables cannot be dropped"))
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{
			Namespace: namespace, Name: name, IfExists: node.IfExists, Cascade: node.Cascade,
		}}},
	}, nil
}

func (e *Environment) createUser(node *parse.CreateUser) (Statement, error) {
	name := node.Name.Name
	if err := checkUserName(node.Name, name); err != nil {
		return nil, err
	}
	role, err := e.grantable(node.RolePos, node.Role)
	if err != nil {
		return nil, err
	}
	account := &commandv1.User{Id: name, Role: uint32(role), Email: node.Email}
	meta := &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
			User: account, IfNotExists: node.IfNotExists,
		}}},
	}
	switch node.Method {
	case parse.AuthPassword:
		account.AuthType = "password"
		meta.Password = &node.Secret
	case parse.AuthOAuth:
		account.AuthType, account.AuthData = "oauth", node.Secret
		if err := e.checkBinding(node); err != nil {
			return nil, err
		}
	case parse.AuthInternal:
		account.AuthType = "internal"
	}
	return meta, nil
}

// binding is what an account says of the token that it logs in with.
type binding struct {
	Provider string `json:"provider"`
	Subject  string `json:"subject"`
}

// checkBinding refuses what names no subject of a provider, or one that is another account's already: a login would let neither in. Two
// statements at once may still do that. An account with nothing to it cannot log in.
func (e *Environment) checkBinding(node *parse.CreateUser) error {
	if node.Secret == "" {
		return nil
	}
	var wanted binding
	if err := json.Unmarshal([]byte(node.Secret), &wanted); err != nil || wanted.Provider == "" || wanted.Subject == "" {
		return invalid(node, `OAUTH needs a JSON object like '{"provider": "https://issuer", "subject": "id"}'`)
	}
	for _, account := range e.Catalog.Users(false) {
		var found binding
		if account.AuthData == "" || string(account.ID) == node.Name.Name || json.Unmarshal([]byte(account.AuthData), &found) != nil {
			continue
		}
		if found == wanted {
			return at(node, fault.New(fault.AlreadyExists, "another user with this provider and subject already exists"))
		}
	}
	return nil
}

func (e *Environment) alterUser(node *parse.AlterUser) (Statement, error) {
	name := node.Name.Name
	change := &commandv1.AlterUser{Id: name}
	meta := &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: change}},
	}
	if err := e.checkOverSystem(node.Name); err != nil {
		return nil, err
	}
	switch node.Field {
	case parse.UserPassword:
		meta.Password = &node.Value
	case parse.UserRole:
		role, err := e.grantable(node.ValuePos, node.Value)
		if err != nil {
			return nil, err
		}
		number := uint32(role)
		change.Role = &number
	case parse.UserEmail:
		change.Email = &node.Value
	}
	return meta, nil
}

func (e *Environment) dropUser(node *parse.DropUser) (Statement, error) {
	if err := e.checkOverSystem(node.Name); err != nil {
		return nil, err
	}
	if node.Name.Name == string(e.Caller.User()) {
		return nil, invalid(node.Name, "a user cannot drop itself")
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{
			Id: node.Name.Name, IfExists: node.IfExists,
		}}},
	}, nil
}

// grantable reads a role word and refuses a role above the caller's own: otherwise a dba could make
// itself system.
func (e *Environment) grantable(node parse.Node, word string) (session.Role, error) {
	role, ok := session.ParseRole(word)
	if !ok {
		return 0, invalid(node, "role '%s' is unknown; use user, service, dba or system", word)
	}
	if role > e.Caller.Role {
		return 0, at(node, fault.New(fault.PermissionDenied, "access denied: role %s cannot grant role %s", e.Caller.Role, role))
	}
	return role, nil
}

// checkOverSystem keeps accounts of role system out of reach of a dba, for whom taking one over would be
// a grant of that role.
func (e *Environment) checkOverSystem(name parse.Ident) error {
	account, exists := e.Catalog.User(ident.UserID(name.Name))
	if exists && account.Role > e.Caller.Role {
		return at(name, fault.New(fault.PermissionDenied,
			"access denied: role %s cannot change a user of role %s", e.Caller.Role, account.Role))
	}
	return nil
}

// checkUserName refuses names that would be trouble in paths and tokens.
func checkUserName(node parse.Node, name string) error {
	switch {
	case name == "":
		return invalid(node, "the name of a user must not be empty")
	case len(name) > 128:
		return invalid(node, "the name of a user must not be longer than 128 bytes")
	case strings.Contains(name, "..") || strings.ContainsAny(name, "/\\\x00"):
		return invalid(node, "user name '%s' must not hold '..', '/', '\\' or a zero byte", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return invalid(node, "the name of a user must not hold control characters")
	case slices.Contains([]string{"anonymous", "system"}, lower(name)):
		return invalid(node, "user name '%s' is reserved", name)
	}
	return nil
}
