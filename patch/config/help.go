package config

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Help returns what `help` prints.
func Help() string {
	var b strings.Builder
	b.WriteString(`evolution-openai-patch lets the instances of an Evolution API share one OpenAI API key: it waits for PostgreSQL,
removes from the database what keeps a second instance from using the key, verifies that and exits.

Usage: evolution-openai-patch [apply | status | revert | version | help]

  apply    put the fixes of PATCH_FIXES in place; this is what it does without an argument
  status   look only; exit status 5 where a fix is not in place, so it serves as a health check
  revert   put back what the fixes took
  version  print the version (also -v, --version)
  help     print this text (also -h, --help)

Everything is set by environment variables. Durations are written 250ms, 30s or 2m; an empty value means the default.

`)
	defaults := presets()
	for _, v := range variableHelp {
		b.WriteString("  " + v.name)
		if preset := defaults[v.name]; preset != "" {
			b.WriteString(" (default " + preset + ")")
		}
		b.WriteString("\n" + fold(v.text, 100, "      "))
	}
	b.WriteString("\nExit status:\n\n")
	for _, s := range exitStatuses {
		fmt.Fprintf(&b, "  %-8s  %s\n", s[0], s[1])
	}
	return b.String()
}

// variableHelp says what each variable is for, in the words of the table in docs/reference.md.
var variableHelp = []struct{ name, text string }{
	{"DATABASE_CONNECTION_URI", "the very string that Evolution gets, with ?schema=…; Prisma's dialect is understood; several are separated by white space"},
	{"DATABASE_CONNECTION_URI_FILE", "read it from this file instead (a Docker or Kubernetes secret), of at most 64 KiB"},
	{"DATABASE_URL", "used where neither is set; after that libpq's PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE …"},
	{"DATABASE_PROVIDER", "postgresql or psql_bouncer"},
	{"PATCH_ACTION", "apply; status (look only); revert (put back what the fixes took)"},
	{"PATCH_FIXES", "comma-separated: auto, apikey-index, apikey-check, name-index. auto is apikey-index and apikey-check, which one key in several instances needs; status and revert count what else is in place, too"},
	{"PATCH_KEEP_INDEX_NAMES", "leave a plain index, with a comment, under the name of Evolution's index that is dropped, so that a later migration that names it passes; false: leave nothing"},
	{"PATCH_ON_MISSING_TABLE", "no database or table yet: guard (install a one-shot event trigger, the guard, or warn where that is not possible; exit 0), continue (warn, exit 0), wait (until it is there and no migration is running), fail (exit 4)"},
	{"PATCH_SCHEMAS", "comma-separated names, if not the schema of the connection string, which is public where none is named; *: every schema of the database that holds Evolution's table, at most 1000"},
	{"PATCH_DATABASES", "comma-separated names and shell patterns, if not the database of the connection string; *: every database of the server that holds Evolution's table; a leading ! leaves out (it beats patterns, not names; alone it means * without those); [!…] negates"},
	{"PATCH_CONNECTIONS", "the most connections that are open to one server at once"},
	{"PATCH_WATCH", "stay, and put the fixes back in place at this interval, at least 100ms; 0 is off"},
	{"PATCH_WAIT_TIMEOUT", "how long to wait for PostgreSQL, for a migration that is running and, with wait, for the table; 0 is for ever; with PATCH_WATCH it is always for ever"},
	{"PATCH_CONNECT_TIMEOUT", "one attempt to connect to one address, authentication included; looking the host name up has a limit of its own, 15 s"},
	{"PATCH_LOCK_TIMEOUT", "how long one attempt waits for the table lock; Evolution's queries queue behind it, and then behind the change itself, which this does not limit"},
	{"PATCH_LOCK_RETRY", "how long to go on trying for the lock"},
	{"PATCH_DRY_RUN", "print the SQL that would run, change nothing"},
	{"PATCH_BACKUP_DIR", "before the first change, write an SQL file there that psql restores; it holds keys, mode 0600, and user 65532 must be able to write there"},
	{"PATCH_ON_ERROR", "fail; continue (log the error and exit 0 all the same, but for configuration errors, status where a fix is not in place, and an interruption)"},
	{"PATCH_LOG_FORMAT", "text or json, for the log and for the report"},
	{"PATCH_LOG_LEVEL", "debug, info, warn or error"},
}

// presets returns the default of each variable of Config by its name, "" for none.
func presets() map[string]string {
	byName := map[string]string{}
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("env"); name != "-" {
			byName[name] = f.Tag.Get("envDefault")
		}
	}
	return byName
}

// exitStatuses is the table in docs/reference.md.
var exitStatuses = [][2]string{
	{"0", "done, now or before; or pending or guarded as asked; a watch that was stopped"},
	{"1", "a database error: rights, the table lock not acquired in time, the connection lost, a wrong password"},
	{"2", "configuration; nothing was contacted"},
	{"3", "refused, nothing was changed: the schema is not what this program knows, or revert would meet duplicates"},
	{"4", "PostgreSQL or the table did not come in time; the last cause is named"},
	{"5", "status only: a fix that was asked for is not in place"},
	{"130, 143", "interrupted by SIGINT or SIGTERM before it was done; nothing is half-done"},
}

// fold breaks text into indented lines of at most width characters.
func fold(text string, width int, indent string) string {
	var b strings.Builder
	line := indent
	for i, word := range strings.Fields(text) {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
