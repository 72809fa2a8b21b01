//go:build e2e

// Package e2e runs the image, compose.example.yml and deploy/ on a real Docker engine, with a stand-in for Evolution
// (../testdata/e2e).
package e2e

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
