// Command gen writes the Go code of the protobuf files below proto, a directory, beside them or below another directory:
//
//	gen PROTO [OUT]
//
// It compiles them itself and lets the generators that tools/go.mod pins do the rest.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("want the directory of the protobuf files, and where to write when it is not there")
	}
	request, err := compile(args[0])
	if err != nil {
		return err
	}
	for _, generator := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := generate(generator, request, args[len(args)-1]); err != nil {
			return fmt.Errorf("%s: %w", generator, err)
		}
	}
	return nil
}

// compile makes the request that generators read: every file, behind those that it imports.
func compile(dir string) (*pluginpb.CodeGeneratorRequest, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".proto" {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("%d protobuf files below %s, %w", len(names), dir, err)
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: new("paths=source_relative")}
	known := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if known[file.Path()] {
			return
		}
		known[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range files {
		add(file)
	}
	return request, nil
}

// generate runs a generator and writes what it answers.
func generate(generator string, request *pluginpb.CodeGeneratorRequest, dir string) error {
	raw, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	command := exec.CommandContext(context.Background(), "go", "tool", generator)
	command.Stdin, command.Stderr = bytes.NewReader(raw), os.Stderr
	if raw, err = command.Output(); err != nil {
		return err
	}
	var answer pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(raw, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return errors.New(answer.GetError())
	}
	for _, file := range answer.GetFile() {
		path := filepath.Join(dir, filepath.FromSlash(file.GetName()))
		if !strings.HasSuffix(path, ".pb.go") {
			return fmt.Errorf("%s is no generated file", path)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as all directories of the repository
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil { //nolint:gosec // as all files of the repository
			return err
		}
	}
	return nil
}
