package patch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

// Every problem is logged in a line of its own.
func TestConfigErrorsAreLogged(t *testing.T) {
	var log strings.Builder
	status := Main(t.Context(), nil, []string{"DATABASE_CONNECTION_URI=postgresql://h/d postgresql://i/d", "PATCH_DRY_RUN=x"}, io.Discard, &log)
	if status != 2 || strings.Count(log.String(), "level=ERROR") != 3 || strings.Count(log.String(), "\n") != 3 {
		t.Errorf("exit status %d: %s", status, log.String())
	}
}

// What separates connection strings is told only where there are several.
func TestOneConnectionString(t *testing.T) {
	const want = "DATABASE_CONNECTION_URI: it names no user"
	if _, err := Parse(t.Context(), []string{"DATABASE_CONNECTION_URI=postgresql://h/d"}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
