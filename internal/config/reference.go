package config

import (
	"fmt"
	"strings"
)

// Reference renders the reference page of all settings in Markdown, from the same tags that Load uses.
func Reference() string {
	var page strings.Builder
	page.WriteString(`# Configuration

` + "`kalamdb <config.toml>`" + ` reads one TOML file. Every key is optional. An environment variable overrides the
file; the file overrides the default. Keys that are not listed here are reported once at start and ignored; a
listed key with a value that is not allowed is refused at start.

This page is generated from ` + "`internal/config`" + `; change it there.
`)
	section := ""
	for _, setting := range Describe(Default()) {
		dot := strings.LastIndexByte(setting.Name, '.')
		if setting.Name[:dot] != section {
			section = setting.Name[:dot]
			fmt.Fprintf(&page, "\n## [%s]\n\n| Key | Default | Allowed | Environment | Meaning |\n|---|---|---|---|---|\n", section)
		}
		variables := make([]string, len(setting.Env))
		for i, name := range setting.Env {
			variables[i] = "`" + name + "`"
		}
		fmt.Fprintf(&page, "| `%s` | `%s` | %s | %s | %s |\n", setting.Name[dot+1:], setting.Value, setting.Allowed,
			strings.Join(variables, ", "), escapeCell(setting.Doc))
	}
	return page.String()
}

func escapeCell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
