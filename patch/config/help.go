package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Help returns what `help` prints.
func Help() string {
	var b strings.Builder
	b.WriteString(`evolution-openai-patch lets the instances of an Evolution API share one OpenAI API key: it waits for PostgreSQL,
removes what keeps a second instance from using the key from the database, verifies that and exits.

Usage: evolution-openai-patch [apply | status | revert | version | help]

  apply    put the fixes of PATCH_FIXES in place; this is what it does without an argument
  status   look only; exit status 5 where a fix is not in place, so it serves as a health check
  revert   put back what the fixes took
  version  print the version (also -v, --version)
  help     print this text (also -h, --help)

Everything is set by environment variables. Durations are written 250ms, 30s or 2m; an empty value means the default.

`)
	for _, f := range fields() {
		b.WriteString("  " + f.Tag.Get("env"))
		if preset := f.Tag.Get("envDefault"); preset != "" {
			b.WriteString(" (default " + preset + ")")
		}
		b.WriteString("\n" + fold(f.Tag.Get("help"), 100, "      "))
	}
	b.WriteString("\nExit status:\n\n")
	for _, s := range exitStatuses {
		fmt.Fprintf(&b, "  %-8s  %s\n", s[0], s[1])
	}
	return b.String()
}

// exitStatuses is the table in docs/reference.md.
var exitStatuses = [][2]string{
	{"0", "done, now or before; or pending or guarded as asked; a watch that was stopped"},
	{"1", "a database error: rights, the lock not had in time, the connection lost, a wrong password"},
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
