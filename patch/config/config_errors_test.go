package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secretURI = "postgresql://u:Sup3rSecret@h/d"

// What is wrong, as far as a test must know it: for the rest see test/project/testdata/messages.golden.
const (
	notSet          = "is not set"
	isSetTwice      = "is set, and "
	unreadable      = "cannot be read"
	emptyFile       = "names an empty file"
	notOneOf        = "is not one of "
	notDuration     = "is not a duration"
	tooShort        = "is too short; it must be "
	tooLong         = "is too long; it must be "
	notBoolean      = "is neither true nor false"
	noSuchFix       = "is not a fix"
	unknownVariable = "no such variable; did you mean "
	namesOnly       = "takes names and"
	endsInComma     = "ends with a comma"
	badPattern      = "is a pattern that is not well formed"
	nothingBefore   = "has nothing before comma "
	notCount        = "is not a whole number from 1 to 1000"
	notPort         = "is no number from 1 to 65535"
	portPerHost     = "does not name one port for each host"
	unreadableFile  = " cannot be read: "
	withFile        = "the file with the "
	notText         = "it holds a NUL or is not UTF-8"
	goesWith        = "goes with "
	noStart         = "it does not begin with "
	unwritable      = "cannot be written: "
	notRevert       = "keeps the fixes in place"
	badIdentity     = "the file with the client identity cannot be used"
	noValue         = "is followed by something other than = and a value"
	notCommas       = "is not separated by commas"
	noUser          = "it names no user"
	notAFile        = "cannot be read: it is neither a regular file nor a pipe"
	fileTooLong     = "is too long for a connection string"
	nameTooLong     = "names a schema of more than 63 bytes"
	nameWithNUL     = "names a schema with a NUL"
	known           = "; known: "
	meantURI        = " or empty; DATABASE_CONNECTION_URL is set: "
	whiteSpace      = "; connection strings are separated by white space"
	onlyPostgreSQL  = "; this program speaks PostgreSQL only"
	unsetHere       = "which is not set in this program's environment"
	notReplaced     = "which Kubernetes replaces only by "
	hasComment      = "holds a comment"
	inUTF16         = "is in UTF-16"
	mustBeFolder    = "; it must be a directory"
)

// configErrors are environments with what is wrong in each: the variable and the beginning of the problem. A name
// that ends in _FILE stands for a file.
var configErrors = map[string]struct {
	environ []string
	want    []string // the variable and the beginning of the problem
}{
	"nothing":            {nil, []string{"DATABASE_CONNECTION_URI: " + notSet}},
	"empty":              {[]string{"DATABASE_CONNECTION_URI=''"}, []string{"DATABASE_CONNECTION_URI: " + notSet}},
	"another name":       {[]string{"DATABASE_CONNECTION_URL=postgresql://u:Sup3rSecret@h/d"}, []string{"DATABASE_CONNECTION_URI: " + notSet + meantURI}},
	"both":               {[]string{goodURI, "DATABASE_CONNECTION_URI_FILE=/x"}, []string{"DATABASE_CONNECTION_URI: " + isSetTwice + "DATABASE_CONNECTION_URI_FILE"}},
	"no such file":       {[]string{"DATABASE_CONNECTION_URI_FILE=/no/such"}, []string{"DATABASE_CONNECTION_URI_FILE: " + unreadable}},
	"a folder":           {[]string{"DATABASE_CONNECTION_URI_FILE=" + os.TempDir()}, []string{"DATABASE_CONNECTION_URI_FILE: " + unreadable}},
	"an empty file":      {[]string{"DATABASE_CONNECTION_URI_FILE=EMPTY_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: " + emptyFile}},
	"a raw space":        {[]string{"DATABASE_CONNECTION_URI=postgresql://u:a Sup3rSecret@h/d"}, []string{"DATABASE_CONNECTION_URI: connection string 1 of 2: " + noUser + whiteSpace, "DATABASE_CONNECTION_URI: connection string 2 of 2: " + noStart + "postgresql:// or postgres://" + whiteSpace}},
	"mysql":              {[]string{goodURI, "DATABASE_PROVIDER=mysql"}, []string{"DATABASE_PROVIDER: " + notOneOf + "postgresql, psql_bouncer" + onlyPostgreSQL}},
	"duration":           {[]string{goodURI, "PATCH_WAIT_TIMEOUT=30"}, []string{"PATCH_WAIT_TIMEOUT: " + notDuration}},
	"negative":           {[]string{goodURI, "PATCH_WAIT_TIMEOUT=-1s"}, []string{"PATCH_WAIT_TIMEOUT: " + tooShort + "from 0s to 2562047h"}},
	"lock for ever":      {[]string{goodURI, "PATCH_LOCK_TIMEOUT=0"}, []string{"PATCH_LOCK_TIMEOUT: " + tooShort + "from 1ms to 2147483647ms"}},
	"boolean":            {[]string{goodURI, "PATCH_DRY_RUN=ture"}, []string{"PATCH_DRY_RUN: " + notBoolean}},
	"fix":                {[]string{goodURI, "PATCH_FIXES=apikey-index,everything"}, []string{"PATCH_FIXES: " + "name 2 of 2 " + noSuchFix + known + "auto, apikey-index, apikey-check, name-index"}},
	"one fix":            {[]string{goodURI, "PATCH_FIXES=everything"}, []string{"PATCH_FIXES: " + noSuchFix + known}},
	"misspelt":           {[]string{goodURI, "PATCH_WAIT_TIMOUT=1s"}, []string{"PATCH_WAIT_TIMOUT: " + unknownVariable + "PATCH_WAIT_TIMEOUT?"}},
	"transposed":         {[]string{goodURI, "PATCH_SCHMEAS=x"}, []string{"PATCH_SCHMEAS: " + unknownVariable + "PATCH_SCHEMAS?"}},
	"lower case":         {[]string{goodURI, "patch_fixes=x"}, []string{"patch_fixes: " + unknownVariable + "PATCH_FIXES?"}},
	"schema pattern":     {[]string{goodURI, "PATCH_SCHEMAS=a*"}, []string{"PATCH_SCHEMAS: " + namesOnly}},
	"schema pattern, ?":  {[]string{goodURI, "PATCH_SCHEMAS=*,a?"}, []string{"PATCH_SCHEMAS: " + namesOnly}},
	"schema pattern, [":  {[]string{goodURI, "PATCH_SCHEMAS=[ab]"}, []string{"PATCH_SCHEMAS: " + namesOnly}},
	"schemas, a comma":   {[]string{goodURI, "PATCH_SCHEMAS=a,"}, []string{"PATCH_SCHEMAS: " + endsInComma}},
	"database pattern":   {[]string{goodURI, "PATCH_DATABASES=a,[b"}, []string{"PATCH_DATABASES: " + "name 2 of 2 " + badPattern}},
	"no pattern":         {[]string{goodURI, "PATCH_DATABASES=a,!"}, []string{"PATCH_DATABASES: " + "name 2 of 2 " + badPattern}},
	"left out twice":     {[]string{goodURI, "PATCH_DATABASES=*,! !b"}, []string{"PATCH_DATABASES: " + "name 2 of 2 " + badPattern}},
	"left out, unclosed": {[]string{goodURI, "PATCH_DATABASES=![!b"}, []string{"PATCH_DATABASES: " + "name 1 of 1 " + badPattern}},
	"nothing negated":    {[]string{goodURI, "PATCH_DATABASES=[!]"}, []string{"PATCH_DATABASES: " + "name 1 of 1 " + badPattern}},
	"class of a shell":   {[]string{goodURI, "PATCH_DATABASES=a,b[![:digit:]]"}, []string{"PATCH_DATABASES: " + "name 2 of 2 " + badPattern}},
	"long, left out":     {[]string{goodURI, "PATCH_DATABASES=!" + strings.Repeat("s", 64)}, []string{"PATCH_DATABASES: names a database of more than 63 bytes"}},
	"databases, comma":   {[]string{goodURI, "PATCH_DATABASES=a,,b"}, []string{"PATCH_DATABASES: " + nothingBefore + "2"}},
	"no connections":     {[]string{goodURI, "PATCH_CONNECTIONS=0"}, []string{"PATCH_CONNECTIONS: " + notCount}},
	"1001 connections":   {[]string{goodURI, "PATCH_CONNECTIONS=1001"}, []string{"PATCH_CONNECTIONS: " + notCount}},
	"half a connection":  {[]string{goodURI, "PATCH_CONNECTIONS=1.5"}, []string{"PATCH_CONNECTIONS: " + notCount}},
	"libpq, no user":     {[]string{"PGHOST=h"}, []string{"PGUSER: " + notSet}},
	"libpq, no sslmode":  {[]string{"PGHOST=h", "PGUSER=u", "PGSSLMODE=ture"}, []string{"PGSSLMODE: " + notOneOf + "disable, allow, prefer, require, no-verify, verify-ca, verify-full"}},
	"libpq, port":        {[]string{"PGHOST=h", "PGUSER=u", "PGPORT=abc"}, []string{"PGPORT: " + notPort}},
	"libpq, ports":       {[]string{"PGHOST=h,i", "PGUSER=u", "PGPORT=5432,0"}, []string{"PGPORT: " + notPort}},
	"libpq, more ports":  {[]string{"PGHOST=h,i", "PGUSER=u", "PGPORT=1,2,3"}, []string{"PGPORT: " + portPerHost}},
	"libpq, no CA":       {[]string{"PGHOST=h", "PGUSER=u", "PGSSLROOTCERT=/no/such"}, []string{"PGSSLROOTCERT: " + withFile + "CA certificate" + unreadableFile + "no such file or directory"}},
	"libpq, bad cert":    {[]string{"PGHOST=h", "PGUSER=u", "PGSSLCERT=/no/such", "PGSSLKEY=EMPTY_FILE"}, []string{"PGSSLCERT: " + withFile + "client certificate" + unreadableFile}},
	"libpq, bad key":     {[]string{"PGHOST=h", "PGUSER=u", "PGSSLCERT=EMPTY_FILE", "PGSSLKEY=/dev/zero"}, []string{"PGSSLKEY: " + withFile + "client key" + unreadableFile}},
	"libpq, passwords":   {[]string{"PGHOST=h", "PGUSER=u", "PGPASSFILE=/no/such"}, []string{"PGPASSFILE: " + withFile + "password" + unreadableFile}},
	"libpq, not UTF-8":   {[]string{"PGHOST=h", "PGUSER=u", "PGPASSWORD=Sup3rSecret\xff"}, []string{"PGPASSWORD: " + notText}},
	"libpq, database":    {[]string{"PGHOST=h", "PGUSER=u", "PGDATABASE=\xff"}, []string{"PGDATABASE: " + notText}},
	"libpq, no key":      {[]string{"PGHOST=h", "PGUSER=u", "PGSSLCERT=/etc/hostname"}, []string{"PGSSLCERT: " + goesWith + "PGSSLKEY"}},
	"libpq, binding":     {[]string{"PGHOST=h", "PGUSER=u", "PGCHANNELBINDING=always"}, []string{"PGCHANNELBINDING: " + notOneOf + "disable, prefer, require"}},
	"a lone quote":       {[]string{"DATABASE_CONNECTION_URI='"}, []string{"DATABASE_CONNECTION_URI: " + noStart}},
	"a device":           {[]string{"DATABASE_CONNECTION_URI_FILE=/dev/zero"}, []string{"DATABASE_CONNECTION_URI_FILE: " + notAFile}},
	"a long file":        {[]string{"DATABASE_CONNECTION_URI_FILE=LONG_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: " + fileTooLong}},
	"no unit":            {[]string{goodURI, "PATCH_CONNECT_TIMEOUT=30"}, []string{"PATCH_CONNECT_TIMEOUT: " + notDuration}},
	"beyond Go's":        {[]string{goodURI, "PATCH_WATCH=999999999h"}, []string{"PATCH_WATCH: " + tooLong + "0 (off), or from 100ms"}},
	"beyond both":        {[]string{goodURI, "PATCH_LOCK_TIMEOUT=999999999h30m"}, []string{"PATCH_LOCK_TIMEOUT: " + tooLong + "from 1ms to 2147483647ms"}},
	"beyond PostgreSQL":  {[]string{goodURI, "PATCH_LOCK_TIMEOUT=600h"}, []string{"PATCH_LOCK_TIMEOUT: " + tooLong + "from 1ms to 2147483647ms"}},
	"connecting":         {[]string{goodURI, "PATCH_CONNECT_TIMEOUT=2147483648ms"}, []string{"PATCH_CONNECT_TIMEOUT: " + tooLong + "from 1ms to 2147483647ms"}},
	"too often":          {[]string{goodURI, "PATCH_WATCH=99ms"}, []string{"PATCH_WATCH: " + tooShort + "0 (off), or from 100ms"}},
	"long schema":        {[]string{goodURI + "?schema=" + strings.Repeat("s", 64)}, []string{"DATABASE_CONNECTION_URI: " + nameTooLong}},
	"long schema, other": {[]string{goodURI, "PATCH_SCHEMAS=" + strings.Repeat("ä", 32)}, []string{"PATCH_SCHEMAS: " + nameTooLong}},
	"NUL in the schema":  {[]string{goodURI + "?schema=a%00b"}, []string{"DATABASE_CONNECTION_URI: " + nameWithNUL}},
	"semicolon":          {[]string{goodURI, "PATCH_FIXES=apikey-index;apikey-check"}, []string{"PATCH_FIXES: " + notCommas + known}},
	"blank":              {[]string{goodURI, "PATCH_FIXES=apikey-index apikey-check"}, []string{"PATCH_FIXES: " + notCommas}},
	"comma at the end":   {[]string{goodURI, "PATCH_FIXES=apikey-index,"}, []string{"PATCH_FIXES: " + endsInComma}},
	"two commas":         {[]string{goodURI, "PATCH_FIXES=apikey-index,,apikey-check"}, []string{"PATCH_FIXES: " + nothingBefore + "2"}},
	"no such folder":     {[]string{goodURI, "PATCH_BACKUP_DIR=/no/such"}, []string{"PATCH_BACKUP_DIR: " + unwritable + "no such file or directory" + mustBeFolder}},
	"no folder":          {[]string{goodURI, "PATCH_BACKUP_DIR=EMPTY_FILE"}, []string{"PATCH_BACKUP_DIR: " + unwritable + "not a directory"}},
	"a folder, and more": {[]string{goodURI, "PATCH_BACKUP_DIR=/no/such", "PATCH_CONNECTIONS=0"}, []string{"PATCH_CONNECTIONS: " + notCount}},
	"watch, dry run":     {[]string{goodURI, "PATCH_WATCH=1s", "PATCH_DRY_RUN=true"}, []string{"PATCH_WATCH: " + notRevert}},
	"watch, revert":      {[]string{goodURI, "PATCH_WATCH=1s", "PATCH_ACTION=revert"}, []string{"PATCH_WATCH: " + notRevert}},
	"no identity":        {[]string{goodURI + "?sslidentity=/etc/hostname&sslmode=require"}, []string{"DATABASE_CONNECTION_URI: " + badIdentity}},
	"a colon":            {[]string{goodURI, "PATCH_FIXES: " + secretURI + "?schema=s"}, []string{"PATCH_FIXES: " + noValue}},
	"not set":            {[]string{"DATABASE_CONNECTION_URI=postgresql://${NO_USER}:Sup3rSecret@h/${NO_DB}"}, []string{"DATABASE_CONNECTION_URI: it holds ${NO_USER}, ${NO_DB}, " + unsetHere}},
	"not set, of two":    {[]string{"DATABASE_URL=" + secretURI + " postgresql://u:${NO}@h/d"}, []string{"DATABASE_URL: connection string 2 of 2: it holds ${NO}, " + unsetHere}},
	"not replaced":       {[]string{"DATABASE_CONNECTION_URI=postgresql://u:Sup3rSecret@h/$(DB)"}, []string{"DATABASE_CONNECTION_URI: it holds $(DB), " + notReplaced}},
	"a comment":          {[]string{"DATABASE_CONNECTION_URI=" + secretURI + "?schema=s # of mine Sup3rSecret"}, []string{"DATABASE_CONNECTION_URI: " + hasComment}},
	"comment, no blank":  {[]string{"DATABASE_URL='" + secretURI + "'\t#of mine"}, []string{"DATABASE_URL: " + hasComment}},
	"UTF-16":             {[]string{"DATABASE_CONNECTION_URI_FILE=UTF16_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: " + inUTF16}},
	"UTF-16, big-endian": {[]string{"DATABASE_CONNECTION_URI_FILE=UTF16BE_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: " + inUTF16}},
	"UTF-16, no mark":    {[]string{"DATABASE_CONNECTION_URI_FILE=UTF16NOBOM_FILE"}, []string{"DATABASE_CONNECTION_URI_FILE: " + inUTF16}},
	"libpq, host":        {[]string{"PGHOST=h,ho!st", "PGUSER=u"}, []string{"PGHOST: is neither an IP address nor "}},
	"libpq, no host":     {[]string{"PGHOST=h,", "PGUSER=u"}, []string{"PGHOST: is neither an IP address nor "}},
	"libpq, unreplaced":  {[]string{"PGHOST=$(HOST)", "PGUSER=u"}, []string{"PGHOST: it holds $(HOST), " + notReplaced}},
	"Kubernetes' alike":  {[]string{goodURI, "PATCH_PORT_80=x"}, []string{"PATCH_PORT_80: no such variable"}},
	"all at once": {
		[]string{"PATCH_ACTION=aply", "PATCH_LOG_FORMAT=xml", "PATCH_DRY_RUN=" + secretURI, "PATCH_LOCK_RETRY=" + secretURI, "PATCH_ON_EROR=x", "DATABASE_PROVIDER=" + secretURI},
		[]string{
			"PATCH_ON_EROR: " + unknownVariable, "PATCH_LOCK_RETRY: " + notDuration, "PATCH_DRY_RUN: " + notBoolean, "DATABASE_PROVIDER: " + notOneOf,
			"PATCH_ACTION: " + notOneOf, "PATCH_LOG_FORMAT: " + notOneOf + "text, json", "DATABASE_CONNECTION_URI: " + notSet,
		},
	},
}

func TestConfigErrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "long": strings.Repeat("x", maxSecret+1),
		"utf16": "\xff\xfep\x00o\x00", "utf16be": "\xfe\xff\x00p\x00o", "utf16nobom": "p\x00o\x00",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := strings.NewReplacer("EMPTY_FILE", filepath.Join(dir, "empty"), "LONG_FILE", filepath.Join(dir, "long"),
		"UTF16_FILE", filepath.Join(dir, "utf16"), "UTF16BE_FILE", filepath.Join(dir, "utf16be"), "UTF16NOBOM_FILE", filepath.Join(dir, "utf16nobom"))
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
			var config *Error
			if !errors.As(err, &config) {
				t.Errorf("%T is no *Error", err)
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

// What separates connection strings is told only where there are several.
func TestOneConnectionString(t *testing.T) {
	const want = "DATABASE_CONNECTION_URI: " + noUser
	if _, err := Parse(t.Context(), []string{"DATABASE_CONNECTION_URI=postgresql://h/d"}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
