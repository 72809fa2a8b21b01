//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// readmeBlock returns the README's block that follows the comment <!-- test: name -->.
func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(pgtest.Root("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "<!-- test: "+name+" -->\n```")
	if !found {
		t.Fatalf("the README has no block %s", name)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}

// A stack that consists of what the README gives to paste, a database and an Evolution works, and so do the README's commands.
func TestE2EReadme(t *testing.T) {
	t.Parallel()
	// What the newcomer's stack has already, and the connection string that is to be put in.
	const stackBefore = `services:
  postgres:
    image: postgres:17
    environment: {POSTGRES_USER: evolution, POSTGRES_PASSWORD: ` + pgtest.ExamplePassword + `, POSTGRES_DB: evolution}
    healthcheck: {test: [CMD, pg_isready, -h, 127.0.0.1], interval: 1s, retries: 60}
  redis: {}
`
	pasted := strings.Replace(readmeBlock(t, "paste"), "postgresql://USER:PASSWORD@postgres:5432/evolution?schema=evolution_api", exampleURI, 1)
	if !strings.Contains(pasted, exampleURI) {
		t.Fatalf("the connection string in the README has changed:\n%s", pasted)
	}
	file := write(t, t.TempDir()+"/compose.yml", stackBefore+pasted)
	forEachCompose(t, file, func(t *testing.T, s *stack) {
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		s.startedInOrder("guarded: ")

		run := func(name string) []string {
			words := strings.Fields(readmeBlock(t, name))
			if strings.Join(words[:2], " ") != "docker compose" {
				t.Fatalf("%q is not a command of compose", words)
			}
			return words[2:]
		}
		s.run(run("status")...).Expect(t, 0, "patched: ", "apikey-index=patched apikey-check=patched")
		s.run(run("revert")...).Expect(t, 3, "remedy: ")

		s.restore()
		once := strings.TrimSpace(readmeBlock(t, "once"))
		inserts := []string{"YOUR_NETWORK", s.project + "_default", "postgresql://…", exampleURI, " " + service, " " + image}
		for n := 0; n < len(inserts); n += 2 {
			if !strings.Contains(once, inserts[n]) {
				t.Fatalf("%q has no %q", once, inserts[n])
			}
		}
		once = strings.NewReplacer(inserts...).Replace(once) // all at once: the network's name begins like the image's
		runCommand(t, "sh", "-c", once).Expect(t, 0, "patched: ", "changed=true")
		s.shares(true)
	}, `{services: {evolution: {environment: {DATABASE_CONNECTION_URI: "`+exampleURI+`"}}}}`)
}
