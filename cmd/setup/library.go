package main

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mien/extract/pack"
)

// runtimePackage is the npm package that carries ONNX Runtime for every platform.
type runtimePackage struct {
	download
	licences  []string           // members to install beside the library
	libraries map[string]library // by GOOS/GOARCH
}

// library is ONNX Runtime for one platform.
type library struct {
	member string // in the tarball
	name   string // as installed
	sha256 string
}

// onnxRuntime holds the CPU build of ONNX Runtime 1.30.0, whose C API mien's binding needs. The package has no licence
// file to install beside it; its package.json says MIT.
var onnxRuntime = runtimePackage{
	download: download{
		spec:   "onnxruntime-node@1.30.0",
		sha256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
	},
	libraries: map[string]library{
		"linux/amd64": {
			member: "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
			name:   "libonnxruntime.so",
			sha256: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
		},
		"linux/arm64": {
			member: "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
			name:   "libonnxruntime.so",
			sha256: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
		},
		"darwin/arm64": {
			member: "package/bin/napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib",
			name:   "libonnxruntime.dylib",
			sha256: "685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d",
		},
	},
}

func (r runtimePackage) library(platform string) (library, error) {
	lib, ok := r.libraries[platform]
	if !ok {
		known := slices.Sorted(maps.Keys(r.libraries))
		return lib, fmt.Errorf("no ONNX Runtime for %q in %s, only for %s", platform, r.spec, strings.Join(known, ", "))
	}
	return lib, nil
}

// makeLibrary installs the library at path, licence files first, so that it is not there without them.
func (s *setup) makeLibrary(ctx context.Context, lib library, at string) error {
	tarball, err := s.fetch(ctx, s.runtime.download)
	if err != nil {
		return err
	}
	found, err := pack.Members(tarball, append(slices.Clone(s.runtime.licences), lib.member)...)
	if err != nil {
		return err
	}
	data, ok := found[lib.member]
	if !ok {
		return fmt.Errorf("%s has no %s", s.runtime.spec, lib.member)
	}
	if got := sumBytes(data); got != lib.sha256 {
		return wrongSum(s.runtime.spec+" "+lib.member, lib.sha256, got)
	}
	for _, name := range s.runtime.licences {
		text, ok := found[name]
		if !ok {
			return fmt.Errorf("%s has no %s", s.runtime.spec, name)
		}
		if err := pack.WriteFile(filepath.Join(s.libDir(), path.Base(name)), text); err != nil {
			return err
		}
	}
	return pack.WriteFile(at, data)
}
