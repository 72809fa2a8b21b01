package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sourceNames returns what the connection strings of an environment lead to.
func sourceNames(t *testing.T, environ ...string) (names []string) {
	t.Helper()
	cfg, err := Parse(t.Context(), environ)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Sources {
		names = append(names, s.User()+"@"+s.String())
	}
	return names
}

// Variables are replaced after the connection strings are split, wherever they come from, and their values lose their quotes.
func TestVariablesInConnectionStrings(t *testing.T) {
	uris := "'postgresql://${ROLE}:${PASS}@h1/${DB}'\n'postgres://${ROLE}@h2/${DB}'"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(uris), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"DATABASE_CONNECTION_URI=" + uris, "DATABASE_CONNECTION_URI_FILE=" + file, "DATABASE_URL=" + uris} {
		names := sourceNames(t, uri, `ROLE="u"`, "PASS=a b%20@", "DB='evolution'")
		if len(names) != 2 || names[0] != "u@h1:5432/evolution" || names[1] != "u@h2:5432/evolution" {
			t.Errorf("%q", names)
		}
	}
}

// What may be wrong with a password as it is written is remembered, and nothing else of the password.
func TestPasswordHint(t *testing.T) {
	for uri, want := range map[string]string{
		"postgresql://u:Sup3r$(PASS)Secret@h/d": "$(PASS)", "postgresql://u:Sup3r@Secret@h/d": "%40", "postgresql://u:Sup3r%2Secret@h/d": "%25", "postgresql://u:${PASS}@h/d": "%25",
		"postgresql://u:Sup3rSecret@h/d?schema=a@b%41": "", "postgresql://u@h/d": "", "postgresql://u%40:Sup3rSecret@h/d": "",
	} {
		cfg, err := Parse(t.Context(), []string{"DATABASE_CONNECTION_URI=" + uri, "PASS=Sup3r%41Secret"})
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		if hint := cfg.Sources[0].PasswordHint; !strings.Contains(hint, want) || (hint == "") != (want == "") || strings.Contains(hint, "Sup3r") || strings.Contains(hint, "Secret") {
			t.Errorf("%s: %q", uri, hint)
		}
	}
	for password, want := range map[string]string{"p@%41": "", "$(PASS)": "$(PASS)"} {
		cfg, err := Parse(t.Context(), []string{"PGHOST=h", "PGUSER=u", "PGPASSWORD=" + password})
		if hint := cfg.Sources[0].PasswordHint; err != nil || !strings.Contains(hint, want) || (hint == "") != (want == "") {
			t.Errorf("PGPASSWORD=%s: %v, %q", password, err, hint)
		}
	}
}

// A file in UTF-8 may begin with a byte order mark, as editors on Windows write one.
func TestSecretWithByteOrderMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("\ufeff'postgresql://u:p@h/d'\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := sourceNames(t, "DATABASE_CONNECTION_URI_FILE="+file); len(names) != 1 || names[0] != "u@h:5432/d" {
		t.Errorf("%q", names)
	}
}
