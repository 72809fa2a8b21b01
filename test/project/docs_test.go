package project

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"evolution-openai-patch/test/pgtest"
)

// Documents that exist in three languages, the English one first.
var translated = [][]string{
	{"README.md", "docs/README.pt-BR.md", "docs/README.zh-CN.md"},
	{"docs/reference.md", "docs/reference.pt-BR.md", "docs/reference.zh-CN.md"},
}

// A part is what a test compares of one section of a document.
type part struct {
	heading string
	blocks  []string // fenced blocks without comments and without the words of diagrams
	tables  []string // for each row the number of cells and the code in it
	code    []string // what else is in code type, sorted
	links   []string // sorted; in translations, those to English documents are the same
	items   []string // the markers of lists
}

var (
	fence     = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	codeSpans = regexp.MustCompile("``([^`]|`[^`])+``|`[^`]+`")
	linkTo    = regexp.MustCompile(`\]\(([^)]+)\)`)
	item      = regexp.MustCompile(`^(-|\d+\.) `)
	comment   = regexp.MustCompile(`(?m)\s*# .*$`)
	diagram   = regexp.MustCompile(`(?m)(alt|else|Note over \w+:|>>\w+:) .*$`)
	label     = regexp.MustCompile(`"[^"]*"`)
)

// parts splits a document into its sections.
func parts(t *testing.T, page string) (all []part) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^<!-- test: .*\n`).ReplaceAllString(pgtest.Read(t, page), "")
	for _, section := range regexp.MustCompile(`(?m)^#+ `).Split(text, -1)[1:] {
		var p part
		for _, b := range fence.FindAllStringSubmatch(section, -1) {
			code := b[2]
			if b[1] != "sql" {
				code = diagram.ReplaceAllString(comment.ReplaceAllString(code, ""), "$1")
			}
			if b[1] == "mermaid" {
				code = label.ReplaceAllString(code, "")
			}
			p.blocks = append(p.blocks, b[1]+"\n"+code)
		}
		section = fence.ReplaceAllString(section, "")
		p.heading, section, _ = strings.Cut(section, "\n")
		for line := range strings.SplitSeq(section, "\n") {
			if marker := item.FindString(line); marker != "" {
				p.items = append(p.items, marker)
			}
			if strings.HasPrefix(line, "|") {
				p.tables = append(p.tables, fmt.Sprint(strings.Count(line, " |"), codeSpans.FindAllString(line, -1)))
			}
		}
		p.code = codeSpans.FindAllString(section, -1)
		slices.Sort(p.code)
		for _, link := range linkTo.FindAllStringSubmatch(section, -1) {
			p.links = append(p.links, target(page, link[1]))
		}
		slices.Sort(p.links)
		all = append(all, p)
	}
	return all
}

// target returns the file of a link by its path from the root folder and in English, and whether it leads to a section.
func target(page, link string) string {
	file, anchor, _ := strings.Cut(link, "#")
	if file == "" {
		file = page
	} else {
		file = filepath.Join(filepath.Dir(page), file)
	}
	for _, documents := range translated {
		if slices.Contains(documents, file) {
			file = documents[0]
		}
	}
	return fmt.Sprint(file, " ", anchor != "")
}

// The translations have the sections, tables, blocks, links and code of the English document.
func TestTranslations(t *testing.T) {
	t.Parallel()
	for _, documents := range translated {
		english := parts(t, documents[0])
		for _, page := range documents[1:] {
			other := parts(t, page)
			if len(other) != len(english) {
				t.Fatalf("%s has %d sections, %s has %d", documents[0], len(english), page, len(other))
			}
			for i, want := range english {
				got := other[i]
				for name, pair := range map[string][2][]string{
					"blocks": {want.blocks, got.blocks}, "tables": {want.tables, got.tables}, "code": {want.code, got.code}, "lists": {want.items, got.items},
				} {
					if !slices.Equal(pair[0], pair[1]) {
						t.Errorf("%s, %s: the %s of %q differ:\n%q\n%q", page, got.heading, name, want.heading, pair[0], pair[1])
					}
				}
				if i > 0 && !slices.Equal(want.links, got.links) { // the first section has the line of languages
					t.Errorf("%s, %s: the links of %q differ:\n%q\n%q", page, got.heading, want.heading, want.links, got.links)
				}
			}
		}
	}
}

// Each document that exists in three languages links to the others in its third line.
func TestLanguageLinks(t *testing.T) {
	t.Parallel()
	for _, documents := range translated {
		for i, page := range documents {
			line := strings.Split(pgtest.Read(t, page), "\n")[2]
			for j, name := range []string{"English", "Português", "中文"} {
				link, err := filepath.Rel(filepath.Dir(page), documents[j])
				if err != nil {
					t.Fatal(err)
				}
				want := "[" + name + "](" + link + ")"
				if i == j {
					want = name
				}
				if !slices.Contains(strings.Split(line, " · "), want) {
					t.Errorf("%s: the line of languages is %q, want %q in it", page, line, want)
				}
			}
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(t *testing.T, page string) (all []string) {
	t.Helper()
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(pgtest.Read(t, page), ""), -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1]))
	}
	return all
}

// pages returns the documents by their paths from the root folder.
func pages(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md", ".github/*/*.md"} {
		for _, file := range pgtest.Glob(t, pgtest.Root(pattern)) {
			name, err := filepath.Rel(pgtest.Root(), file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, name)
		}
	}
	return all
}

// releases is where a link to the releases leads: GitHub reads it from the page of a file, /OWNER/NAME/blob/BRANCH/FILE.
const releases = "../../releases"

// Every link between the documents leads to a file and a section that exist.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, link := range linkTo.FindAllStringSubmatch(fence.ReplaceAllString(pgtest.Read(t, page), ""), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			name, anchor, _ := strings.Cut(link[1], "#")
			file := page
			if name != "" {
				file = filepath.Join(filepath.Dir(page), name)
			}
			if file == releases {
				continue
			}
			if !pgtest.Exists(pgtest.Root(file)) {
				t.Errorf("%s links to %s, which does not exist", page, link[1])
			} else if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s links to %s, and there is no such section: %q", page, link[1], anchors(t, file))
			}
		}
	}
}

// A README can be read in a few minutes.
func TestReadmeLength(t *testing.T) {
	t.Parallel()
	for _, page := range translated[0] {
		if n := strings.Count(pgtest.Read(t, page), "\n"); n > 120 {
			t.Errorf("%s has %d lines, more than 120", page, n)
		}
	}
}
