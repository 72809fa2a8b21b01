// Package connect tests how the program connects, waits, watches, and survives a network or a server that fails.
package connect

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
