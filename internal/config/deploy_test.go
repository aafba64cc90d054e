package config_test

import (
	"path/filepath"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// TestDeployedFilesAreAccepted loads every configuration file that the repository ships.
func TestDeployedFilesAreAccepted(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "..", "deploy", "*", "*.toml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("found %v, err = %v", paths, err)
	}
	for _, path := range paths {
		_, warnings, err := config.Load(path, noEnvironment)
		if err != nil {
			t.Error(err)
		}
		for _, warning := range warnings {
			t.Errorf("%s: %s: %v", path, warning.Message, warning.Keys)
		}
	}
}
