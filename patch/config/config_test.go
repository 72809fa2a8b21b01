package config

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const goodURI = "DATABASE_CONNECTION_URI=postgresql://u:p@h/d"

func TestConfigTakesWhatPeopleWrite(t *testing.T) {
	cfg, err := Parse(t.Context(), []string{
		`DATABASE_CONNECTION_URI="postgresql://u:p@h/d?schema=evolution_api"`, "PATCH_DRY_RUN='true'", "PATCH_WAIT_TIMEOUT=0", "PATCH_FIXES= apikey-index ", "PATCH_CONNECTIONS=7",
		"PATCH_LOCK_TIMEOUT=", "PATCH_SCHEMAS=", "PATCH_SERVICE_HOST=10.0.0.1", "PATCH_API_PORT_80_TCP=tcp://10.0.0.1:80", "LOG_LEVEL=ERROR,WARN",
		"DATABASE_URL=mysql://not/this", "NOT_EVEN_A_VARIABLE",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.DryRun || cfg.WaitTimeout.Duration != 0 || cfg.LockTimeout.String() != "50ms" || cfg.Connections != 7 || len(cfg.Fixes.Named) != 1 || cfg.Sources[0].Schemas.Names[0] != "evolution_api" {
		t.Errorf("%+v", cfg)
	}
}

// White space and one pair of quotes around a value are not part of it.
func TestUnquote(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "a": "a", " a\n": "a", `"a"`: "a", "'a'": "a", ` " a " `: "a", `""`: "", `"`: `"`, "'": "'", `"a`: `"a`, `a"`: `a"`, `"a'`: `"a'`, `""a""`: `"a"`, "aba": "aba",
	} {
		if got := unquote(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// The lowest level that is logged is the one that is set.
func TestLogLevel(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		cfg, err := Parse(t.Context(), []string{goodURI, "PATCH_LOG_LEVEL=" + strings.ToLower(level.String())})
		if err != nil || cfg.LogLevel.Level != level {
			t.Errorf("%v, %v, want %v", cfg.LogLevel.Level, err, level)
		}
	}
	if _, err := Parse(t.Context(), []string{goodURI, "PATCH_LOG_LEVEL=debug+1"}); err == nil {
		t.Error("a level that is not documented is taken")
	}
}

// The fixes that had to be added are in the configuration, for the log.
func TestConfigIsCompleted(t *testing.T) {
	cfg, err := Parse(t.Context(), []string{goodURI, "PATCH_FIXES=apikey-check"})
	if err != nil || !slices.Equal(cfg.Completed, []string{"apikey-index"}) {
		t.Errorf("%v %v", cfg.Completed, err)
	}
}

// A variable that is not known is never passed over, and the one that was meant is named.
func TestUnknownVariables(t *testing.T) {
	for name, near := range map[string]string{
		"PATCH_FIX": "PATCH_FIXES", "PATCH_LOGLEVEL": "PATCH_LOG_LEVEL", "PATCH_SCHEMA": "PATCH_SCHEMAS", "PATCH_KEEP_NAMES": "PATCH_KEEP_INDEX_NAMES",
		"PATCH_TIMEOUT": "PATCH_WAIT_TIMEOUT", "PATCH_MISSING_TABLE": "PATCH_ON_MISSING_TABLE", "PATCH_BACKUP": "PATCH_BACKUP_DIR",
		"PATCH_WATCH_INTERVAL": "PATCH_WATCH", "Patch_Dry_Run": "PATCH_DRY_RUN", "PATCH_WAIT": "", "PATCH_DATABASE": "PATCH_DATABASES", "PATCH_CONNECTION": "PATCH_CONNECTIONS", "PATCH_": "",
		"PATCH_PORTS": "", "PATCH_HOST": "",
	} {
		_, err := Parse(t.Context(), []string{goodURI, name + "="})
		if err == nil || !strings.HasPrefix(err.Error(), name+": no such variable; did you mean PATCH_"+strings.TrimPrefix(near, "PATCH_")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"PATCH_SERVICE_HOST", "PATCH_SERVICE_PORT", "PATCH_SERVICE_PORT_HTTP", "PATCH_PORT", "PATCH_PORT_80_TCP", "PATCH_PORT_80_TCP_ADDR",
		"PATCH_PORT_53_UDP_PROTO", "PATCH_ME_SERVICE_HOST", "PATCH_ME_PORT", "PATCH_ME_PORT_80_TCP_PORT", "DISPATCH_X", "PATCHES",
	} {
		if _, err := Parse(t.Context(), []string{goodURI, name + "=tcp://10.0.0.1:80"}); err != nil {
			t.Error(err)
		}
	}
}

// The limits themselves are taken.
func TestLimitsAreTaken(t *testing.T) {
	for _, v := range []string{
		"PATCH_WATCH=100ms", "PATCH_WATCH=0s", "PATCH_LOCK_TIMEOUT=1ms", "PATCH_LOCK_TIMEOUT=2147483647ms", "PATCH_CONNECT_TIMEOUT=2147483647ms",
		"PATCH_WAIT_TIMEOUT=2562047h", "PATCH_LOCK_RETRY=0", "PATCH_CONNECTIONS=1", "PATCH_CONNECTIONS=1000",
		"PATCH_SCHEMAS=" + strings.Repeat("s", 63), "PATCH_DATABASES=" + strings.Repeat("ä", 31) + "b", "PATCH_DATABASES=!" + strings.Repeat("ä", 31) + "b",
	} {
		if _, err := Parse(t.Context(), []string{goodURI, v}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// A connection string may come through a pipe, as a shell's <(…) makes one.
func TestURIFromAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _ = w.WriteString("postgresql://u:p@h/piped\n")
	w.Close()
	cfg, err := Parse(t.Context(), []string{fmt.Sprintf("DATABASE_CONNECTION_URI_FILE=/dev/fd/%d", r.Fd())})
	if err != nil || cfg.Sources[0].String() != "h:5432/piped" {
		t.Error(err)
	}
}

// PATCH_BACKUP_DIR is tried only where something may be changed, and nothing is left in it.
func TestBackupDirIsTried(t *testing.T) {
	for _, harmless := range []string{"PATCH_ACTION=status", "PATCH_DRY_RUN=true"} {
		if _, err := Parse(t.Context(), []string{goodURI, "PATCH_BACKUP_DIR=/no/such", harmless}); err != nil {
			t.Errorf("%s: %v", harmless, err)
		}
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", "/no/such") // as in the image, where there is none
	if _, err := Parse(t.Context(), []string{goodURI}); err != nil {
		t.Error(err)
	}
	if _, err := Parse(t.Context(), []string{goodURI, "PATCH_BACKUP_DIR=" + dir}); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// plain is a cell of a table in Markdown as help prints it.
func plain(cell string) string {
	cell = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(cell, "$1")
	return strings.TrimSpace(strings.ReplaceAll(cell, "`", ""))
}

// Every variable of the struct has one row of the help, and every row its variable.
func TestHelpListsEveryVariable(t *testing.T) {
	variables := presets()
	for _, v := range variableHelp {
		if _, known := variables[v.name]; !known {
			t.Errorf("%s is no variable, or has two rows", v.name)
		}
		delete(variables, v.name)
	}
	for name := range variables {
		t.Errorf("%s has no row", name)
	}
}

// The tables in docs/reference.md, the struct and help say the same, in both directions.
func TestHelpAndReferenceSayTheSame(t *testing.T) {
	reference, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(Help()), " ")
	meanings := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| [^|]*\\|([^|]*)\\|$").FindAllStringSubmatch(string(reference), -1) {
		meanings[row[1]] = plain(row[2])
	}
	for _, v := range variableHelp {
		preset := ""
		if value := presets()[v.name]; value != "" {
			preset = " (default " + value + ")"
		}
		if meanings[v.name] != v.text {
			t.Errorf("%s\nreference %s\nprogram   %s", v.name, meanings[v.name], v.text)
		}
		if line := v.name + preset + " " + v.text; !strings.Contains(text, line) {
			t.Errorf("%q is not in the help", line)
		}
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| ([^|]*) \|$`).FindAllStringSubmatch(string(reference), -1)
	if len(rows) != len(exitStatuses) {
		t.Fatalf("the reference has %d exit statuses, help has %d", len(rows), len(exitStatuses))
	}
	for i, row := range rows {
		if row[1] != exitStatuses[i][0] || plain(row[2]) != exitStatuses[i][1] {
			t.Errorf("reference %s %s\nprogram   %s", row[1], plain(row[2]), exitStatuses[i])
		}
	}
}

// The table in docs/reference.md and the struct say the same, in both directions.
func TestReferenceListsEveryVariable(t *testing.T) {
	reference, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`([^`]*)`|–)[^|]*\\|").FindAllStringSubmatch(string(reference), -1) {
		rows[row[1]] = row[2]
	}
	for name, preset := range presets() {
		documented, ok := rows[name]
		if !ok {
			t.Errorf("the reference does not list %s", name)
		} else if documented != preset {
			t.Errorf("%s: the reference says %q is the default, the program says %q", name, documented, preset)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("the reference lists %s, which the program does not know", name)
	}
}

// A Config may end up in somebody's log.
func TestConfigPrintsNoSecret(t *testing.T) {
	cfg, err := Parse(t.Context(), []string{"DATABASE_CONNECTION_URI=postgresql://u:Sup3rSecret@h/d", "DATABASE_URL=postgresql://u:Sup3rSecret@h/d"})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, cfg); strings.Contains(text, "Sup3rSecret") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
