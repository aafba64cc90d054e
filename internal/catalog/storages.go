package catalog

import (
	"fmt"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// StorageToProto converts to the stored form.
func StorageToProto(s *Storage) *commandv1.Storage {
	return &commandv1.Storage{
		Id: s.ID, Name: s.Name, Description: s.Description, Type: s.Type, BaseDirectory: s.BaseDirectory,
		Credentials: s.Credentials, Config: s.Config, SharedTablesTemplate: s.SharedTemplate,
		UserTablesTemplate: s.UserTemplate, CreatedMicros: s.CreatedMicros, UpdatedMicros: s.UpdatedMicros,
	}
}

// StorageFromProto converts from the stored form.
func StorageFromProto(p *commandv1.Storage) (*Storage, error) {
	if p.GetId() == "" || p.GetType() == "" {
		return nil, fmt.Errorf("%w: storage without an id or type", errMalformed)
	}
	return &Storage{
		ID: p.GetId(), Name: p.GetName(), Description: p.GetDescription(), Type: p.GetType(), BaseDirectory: p.GetBaseDirectory(),
		Credentials: p.GetCredentials(), Config: p.GetConfig(), SharedTemplate: p.GetSharedTablesTemplate(),
		UserTemplate: p.GetUserTablesTemplate(), CreatedMicros: p.GetCreatedMicros(), UpdatedMicros: p.GetUpdatedMicros(),
	}, nil
}
