package patch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const goodURI = "DATABASE_CONNECTION_URI=postgresql://u:p@h/d"

const secretURI = "postgresql://u:Sup3rSecret@h/d"

// configErrors are environments with what is wrong in each: the variable and the beginning of the problem. EMPTY_FILE and
// LONG_FILE stand for files.
var configErrors = map[string]struct {
	environ []string
	want    []string // the variable and the beginning of the problem
}{
	"nothing":            {nil, []string{"DATABASE_CONNECTION_URI: is not set or empty"}},
	"empty":              {[]string{"DATABASE_CONNECTION_URI=''"}, []string{"DATABASE_CONNECTION_URI: is not set or empty"}},
	"both":               {[]string{goodURI, "DATABASE_CONNECTION_URI_FILE=/x"}, []string{"DATABASE_CONNECTION_URI: is set, and DATABASE_CONNECTION_URI_FILE too"}},
	"no such file":       {[]string{"DATABASE_CONNECTION_URI_FILE=/no/such"}, []string{"DATABASE_CONNECTION_URI_FILE: cannot be read"}},
	"a folder":           {[]string{"DATABASE_CONNECTION_URI_FILE=" + os.TempDir()}, []string{"DATABASE_CONNECTION_URI_FILE: cannot be read"}},
	"an empty file":      {[]string{"DATABASE_CONNECTION_URI_FILE=EMPTY_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: names an empty file"}},
	"a raw space":        {[]string{"DATABASE_CONNECTION_URI=postgresql://u:a Sup3rSecret@h/d"}, []string{"DATABASE_CONNECTION_URI: connection string 1 of 2: it names no user; connection strings are separated by white space, so that in a password is written %20", "DATABASE_CONNECTION_URI: connection string 2 of 2: it does not begin with postgresql:// or postgres://; connection strings are separated by white space, so that in a password is written %20"}},
	"mysql":              {[]string{goodURI, "DATABASE_PROVIDER=mysql"}, []string{"DATABASE_PROVIDER: is not one of postgresql, psql_bouncer; this program speaks PostgreSQL only"}},
	"duration":           {[]string{goodURI, "PATCH_WAIT_TIMEOUT=30"}, []string{"PATCH_WAIT_TIMEOUT: is not a duration; write a number with its unit"}},
	"negative":           {[]string{goodURI, "PATCH_WAIT_TIMEOUT=-1s"}, []string{"PATCH_WAIT_TIMEOUT: is too short; it must be from 0s to 2562047h"}},
	"lock for ever":      {[]string{goodURI, "PATCH_LOCK_TIMEOUT=0"}, []string{"PATCH_LOCK_TIMEOUT: is too short; it must be from 1ms to 2147483647ms: the longest timeout that PostgreSQL takes"}},
	"boolean":            {[]string{goodURI, "PATCH_DRY_RUN=ture"}, []string{"PATCH_DRY_RUN: is neither true nor false"}},
	"fix":                {[]string{goodURI, "PATCH_FIXES=apikey-index,everything"}, []string{"PATCH_FIXES: names a fix that this version does not have, as number 2 of 2; write one or more of auto, apikey-index, apikey-check, name-index"}},
	"one fix":            {[]string{goodURI, "PATCH_FIXES=everything"}, []string{"PATCH_FIXES: names a fix that this version does not have; write one or more of"}},
	"misspelt":           {[]string{goodURI, "PATCH_WAIT_TIMOUT=1s"}, []string{"PATCH_WAIT_TIMOUT: no such variable; did you mean PATCH_WAIT_TIMEOUT?"}},
	"transposed":         {[]string{goodURI, "PATCH_SCHMEAS=x"}, []string{"PATCH_SCHMEAS: no such variable; did you mean PATCH_SCHEMAS?"}},
	"lower case":         {[]string{goodURI, "patch_fixes=x"}, []string{"patch_fixes: no such variable; did you mean PATCH_FIXES?"}},
	"schema pattern":     {[]string{goodURI, "PATCH_SCHEMAS=a*"}, []string{"PATCH_SCHEMAS: takes names and, for every schema that holds the table, *"}},
	"schemas, a comma":   {[]string{goodURI, "PATCH_SCHEMAS=a,"}, []string{"PATCH_SCHEMAS: ends with a comma"}},
	"database pattern":   {[]string{goodURI, "PATCH_DATABASES=a,[b"}, []string{"PATCH_DATABASES: holds a pattern that is not well formed, as number 2 of 2"}},
	"databases, comma":   {[]string{goodURI, "PATCH_DATABASES=a,,b"}, []string{"PATCH_DATABASES: has nothing before comma 2"}},
	"no connections":     {[]string{goodURI, "PATCH_CONNECTIONS=0"}, []string{"PATCH_CONNECTIONS: is not a whole number from 1 to 1000"}},
	"1001 connections":   {[]string{goodURI, "PATCH_CONNECTIONS=1001"}, []string{"PATCH_CONNECTIONS: is not a whole number from 1 to 1000"}},
	"half a connection":  {[]string{goodURI, "PATCH_CONNECTIONS=1.5"}, []string{"PATCH_CONNECTIONS: is not a whole number from 1 to 1000"}},
	"libpq, no user":     {[]string{"PGHOST=h"}, []string{"PGUSER: is not set"}},
	"libpq, no sslmode":  {[]string{"PGHOST=h", "PGUSER=u", "PGSSLMODE=ture"}, []string{"PGSSLMODE: is not one of disable, allow, prefer, require, verify-ca, verify-full"}},
	"libpq, port":        {[]string{"PGHOST=h", "PGUSER=u", "PGPORT=abc"}, []string{"PGPORT: is no number from 1 to 65535"}},
	"libpq, ports":       {[]string{"PGHOST=h,i", "PGUSER=u", "PGPORT=5432,0"}, []string{"PGPORT: is no number from 1 to 65535"}},
	"libpq, more ports":  {[]string{"PGHOST=h,i", "PGUSER=u", "PGPORT=1,2,3"}, []string{"PGPORT: does not name one port for each host"}},
	"libpq, no CA":       {[]string{"PGHOST=h", "PGUSER=u", "PGSSLROOTCERT=/no/such"}, []string{"PGSSLROOTCERT: names a file that cannot be read: no such file or directory"}},
	"libpq, no key":      {[]string{"PGHOST=h", "PGUSER=u", "PGSSLCERT=/etc/hostname"}, []string{"PGSSLCERT: goes with PGSSLKEY"}},
	"libpq, binding":     {[]string{"PGHOST=h", "PGUSER=u", "PGCHANNELBINDING=always"}, []string{"PGCHANNELBINDING: is not one of disable, prefer, require"}},
	"a lone quote":       {[]string{"DATABASE_CONNECTION_URI='"}, []string{"DATABASE_CONNECTION_URI: it does not begin with"}},
	"a device":           {[]string{"DATABASE_CONNECTION_URI_FILE=/dev/zero"}, []string{"DATABASE_CONNECTION_URI_FILE: cannot be read: it is neither a regular file nor a pipe"}},
	"a long file":        {[]string{"DATABASE_CONNECTION_URI_FILE=LONG_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: is too long for a connection string: it holds more than 64 KiB"}},
	"no unit":            {[]string{goodURI, "PATCH_CONNECT_TIMEOUT=30"}, []string{"PATCH_CONNECT_TIMEOUT: is not a duration"}},
	"beyond Go's":        {[]string{goodURI, "PATCH_WATCH=999999999h"}, []string{"PATCH_WATCH: is too long; it must be 0 (off) or from 100ms, below which looking would be a load of its own, to 2562047h"}},
	"beyond both":        {[]string{goodURI, "PATCH_LOCK_TIMEOUT=999999999h30m"}, []string{"PATCH_LOCK_TIMEOUT: is too long; it must be from 1ms to 2147483647ms"}},
	"beyond PostgreSQL":  {[]string{goodURI, "PATCH_LOCK_TIMEOUT=600h"}, []string{"PATCH_LOCK_TIMEOUT: is too long; it must be from 1ms to 2147483647ms"}},
	"connecting":         {[]string{goodURI, "PATCH_CONNECT_TIMEOUT=2147483648ms"}, []string{"PATCH_CONNECT_TIMEOUT: is too long; it must be from 1ms to 2147483647ms"}},
	"too often":          {[]string{goodURI, "PATCH_WATCH=99ms"}, []string{"PATCH_WATCH: is too short; it must be 0 (off) or from 100ms"}},
	"long schema":        {[]string{goodURI + "?schema=" + strings.Repeat("s", 64)}, []string{"DATABASE_CONNECTION_URI: names a schema of more than 63 bytes"}},
	"long schema, other": {[]string{goodURI, "PATCH_SCHEMAS=" + strings.Repeat("ä", 32)}, []string{"PATCH_SCHEMAS: names a schema of more than 63 bytes"}},
	"NUL in the schema":  {[]string{goodURI + "?schema=a%00b"}, []string{"DATABASE_CONNECTION_URI: names a schema with a NUL"}},
	"semicolon":          {[]string{goodURI, "PATCH_FIXES=apikey-index;apikey-check"}, []string{"PATCH_FIXES: is not separated by commas; write one or more of"}},
	"blank":              {[]string{goodURI, "PATCH_FIXES=apikey-index apikey-check"}, []string{"PATCH_FIXES: is not separated by commas"}},
	"comma at the end":   {[]string{goodURI, "PATCH_FIXES=apikey-index,"}, []string{"PATCH_FIXES: ends with a comma"}},
	"two commas":         {[]string{goodURI, "PATCH_FIXES=apikey-index,,apikey-check"}, []string{"PATCH_FIXES: has nothing before comma 2"}},
	"no such folder":     {[]string{goodURI, "PATCH_BACKUP_DIR=/no/such"}, []string{"PATCH_BACKUP_DIR: cannot be written: no such file or directory; it must be a directory that this program, in the image user 65532, can write to"}},
	"no folder":          {[]string{goodURI, "PATCH_BACKUP_DIR=EMPTY_FILE"}, []string{"PATCH_BACKUP_DIR: cannot be written: not a directory"}},
	"a folder, and more": {[]string{goodURI, "PATCH_BACKUP_DIR=/no/such", "PATCH_CONNECTIONS=0"}, []string{"PATCH_CONNECTIONS: is not a whole number"}},
	"watch, dry run":     {[]string{goodURI, "PATCH_WATCH=1s", "PATCH_DRY_RUN=true"}, []string{"PATCH_WATCH: keeps the fixes in place, so it goes with neither"}},
	"watch, revert":      {[]string{goodURI, "PATCH_WATCH=1s", "PATCH_ACTION=revert"}, []string{"PATCH_WATCH: keeps the fixes in place, so it goes with neither"}},
	"no identity":        {[]string{goodURI + "?sslidentity=/etc/hostname&sslmode=require"}, []string{"DATABASE_CONNECTION_URI: the file with the client identity cannot be used"}},
	"a colon":            {[]string{goodURI, "PATCH_FIXES: " + secretURI + "?schema=s"}, []string{"PATCH_FIXES: is followed by something other than = and a value"}},
	"Kubernetes' alike":  {[]string{goodURI, "PATCH_PORT_80=x"}, []string{"PATCH_PORT_80: no such variable"}},
	"all at once": {
		[]string{"PATCH_ACTION=aply", "PATCH_LOG_FORMAT=xml", "PATCH_DRY_RUN=" + secretURI, "PATCH_LOCK_RETRY=" + secretURI, "PATCH_ON_EROR=x", "DATABASE_PROVIDER=" + secretURI},
		[]string{
			"PATCH_ON_EROR: no such", "PATCH_LOCK_RETRY: is not a duration", "PATCH_DRY_RUN: is neither", "DATABASE_PROVIDER: is not one",
			"PATCH_ACTION: is not one of", "PATCH_LOG_FORMAT: is not one of text, json", "DATABASE_CONNECTION_URI: is not set",
		},
	},
}

func TestConfigErrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "long": strings.Repeat("x", maxSecret+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := strings.NewReplacer("EMPTY_FILE", filepath.Join(dir, "empty"), "LONG_FILE", filepath.Join(dir, "long"))
	for name, c := range configErrors {
		t.Run(name, func(t *testing.T) {
			var environ []string
			for _, v := range c.environ {
				environ = append(environ, files.Replace(v))
			}
			_, err := Parse(t.Context(), environ)
			if err == nil {
				t.Fatal("no error")
			}
			var config *ConfigError
			if !errors.As(err, &config) {
				t.Errorf("%T is no *ConfigError", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Errorf("%d errors, want %d:\n%v", len(lines), len(c.want), err)
			}
			for _, want := range c.want {
				if !strings.Contains("\n"+err.Error(), "\n"+want) {
					t.Errorf("%q is not among:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "Sup3rSecret") {
				t.Errorf("a secret in: %v", err)
			}
		})
	}
}

func TestConfigTakesWhatPeopleWrite(t *testing.T) {
	cfg, err := Parse(t.Context(), []string{
		`DATABASE_CONNECTION_URI="postgresql://u:p@h/d?schema=evolution_api"`, "PATCH_DRY_RUN='true'", "PATCH_WAIT_TIMEOUT=0", "PATCH_FIXES= apikey-index ", "PATCH_CONNECTIONS=7",
		"PATCH_LOCK_TIMEOUT=", "PATCH_SCHEMAS=", "PATCH_SERVICE_HOST=10.0.0.1", "PATCH_API_PORT_80_TCP=tcp://10.0.0.1:80", "LOG_LEVEL=ERROR,WARN",
		"DATABASE_URL=mysql://not/this", "NOT_EVEN_A_VARIABLE",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.DryRun || cfg.WaitTimeout.Duration != 0 || cfg.LockTimeout.String() != "50ms" || cfg.Connections != 7 || len(cfg.Fixes.Named) != 1 || cfg.Targets[0].Schemas.Names[0] != "evolution_api" {
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

// Every problem is logged in a line of its own.
func TestConfigErrorsAreLogged(t *testing.T) {
	var log strings.Builder
	status := Main(t.Context(), nil, []string{"DATABASE_CONNECTION_URI=postgresql://h/d postgresql://i/d", "PATCH_DRY_RUN=x"}, io.Discard, &log)
	if status != 2 || strings.Count(log.String(), "level=ERROR") != 3 || strings.Count(log.String(), "\n") != 3 {
		t.Errorf("exit status %d: %s", status, log.String())
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

// What separates connection strings is told only where there are several.
func TestOneConnectionString(t *testing.T) {
	const want = "DATABASE_CONNECTION_URI: it names no user"
	if _, err := Parse(t.Context(), []string{"DATABASE_CONNECTION_URI=postgresql://h/d"}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
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
		"PATCH_SCHEMAS=" + strings.Repeat("s", 63), "PATCH_DATABASES=" + strings.Repeat("ä", 31) + "b",
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
	if err != nil || cfg.Targets[0].String() != "h:5432/piped" {
		t.Error(err)
	}
}

// A pipe that nobody writes to does not keep a signal from ending the program.
func TestPipeWithoutAWriter(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan int)
	go func() {
		ended <- Main(ctx, nil, []string{"DATABASE_CONNECTION_URI_FILE=" + pipe}, io.Discard, io.Discard)
	}()
	cancel(Interrupted{syscall.SIGTERM})
	if status := <-ended; status != 143 {
		t.Errorf("exit status %d, want 143", status)
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

// The tables in docs/reference.md, the struct and help say the same, in both directions.
func TestHelpAndReferenceSayTheSame(t *testing.T) {
	reference, err := os.ReadFile("../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(help()), " ")
	meanings := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| [^|]*\\|([^|]*)\\|$").FindAllStringSubmatch(string(reference), -1) {
		meanings[row[1]] = plain(row[2])
	}
	for _, f := range fields() {
		name, preset := f.Tag.Get("env"), ""
		if value := f.Tag.Get("envDefault"); value != "" {
			preset = " (default " + value + ")"
		}
		if meanings[name] != f.Tag.Get("help") {
			t.Errorf("%s\nreference %s\nprogram   %s", name, meanings[name], f.Tag.Get("help"))
		}
		if line := name + preset + " " + f.Tag.Get("help"); !strings.Contains(text, line) {
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
	reference, err := os.ReadFile("../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`([^`]*)`|–)[^|]*\\|").FindAllStringSubmatch(string(reference), -1) {
		rows[row[1]] = row[2]
	}
	for _, f := range fields() {
		name := f.Tag.Get("env")
		documented, ok := rows[name]
		if !ok {
			t.Errorf("the reference does not list %s", name)
		} else if documented != f.Tag.Get("envDefault") {
			t.Errorf("%s: the reference says %q is the default, the program says %q", name, documented, f.Tag.Get("envDefault"))
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
