package project

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Each row of docs/platforms.md ends with what is printed when something is wrong, as docs/troubleshooting.md quotes it. So does
// the text around the tables, where a message has three words in a row.
func TestPlatformsQuoteMessages(t *testing.T) {
	t.Parallel()
	explained := codeSpans.FindAllString(fence.ReplaceAllString(pgtest.Read(t, "docs/troubleshooting.md"), ""), -1)
	rows := 0
	for line := range strings.Lines(pgtest.Read(t, "docs/platforms.md")) {
		said := slices.DeleteFunc(codeSpans.FindAllString(line, -1), func(span string) bool { return !prose.MatchString(span) })
		if cells := strings.Split(strings.TrimSuffix(line, " |\n"), " | "); len(cells) > 1 && !strings.HasSuffix(cells[len(cells)-1], " wrong") {
			rows++
			said = slices.DeleteFunc(codeSpans.FindAllString(cells[len(cells)-1], -1), func(span string) bool { return !strings.Contains(span, " ") })
			if len(said) == 0 {
				t.Errorf("the row of %s has no message", cells[0])
			}
		}
		for _, span := range said {
			if !slices.Contains(explained, span) {
				t.Errorf("docs/troubleshooting.md does not explain %s", span)
			}
		}
	}
	if rows < 15 {
		t.Errorf("only %d rows", rows)
	}
}

// docs/platforms.md names each platform for which the README has a file.
func TestPlatformsAreThoseOfTheReadme(t *testing.T) {
	t.Parallel()
	_, platforms, _ := strings.Cut(pgtest.Read(t, "docs/platforms.md"), "\n## Platforms\n")
	_, table, _ := strings.Cut(pgtest.Read(t, "README.md"), "\n| where you run Evolution | file |\n")
	named := regexp.MustCompile(`(?m)^\| ([A-Z][A-Za-z, ]*?|docker compose)(?:,? (?:also|without|beside|role) [^|]*)? \| \[`).FindAllStringSubmatch(table, -1)
	found := 0
	for _, row := range named {
		for platform := range strings.SplitSeq(row[1], ", ") {
			found++
			if !strings.Contains(platforms, platform) {
				t.Errorf("docs/platforms.md does not name %s", platform)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d platforms in %q", found, named)
	}
}
