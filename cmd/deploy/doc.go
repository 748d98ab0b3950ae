// Package deploy holds how mien is run in containers: kubernetes/*.yaml here, Dockerfile and compose.yaml at the root, where their tools look for
// them. It has no code but its tests, which need neither a container engine nor a cluster:
//
//   - Manifests and compose file are held against the published schemas, unknown fields refused (testdata), and against each other:
//     probes, ports, selectors, volumes, the rights of the process, the time it is given to stop. Every variable that they or
//     the Dockerfile set for mien is one that mien serve has.
//   - The image's last steps are taken as the Dockerfile says, in an empty folder: what is copied to the image is all that is there, with the
//     libraries that Debian has. The program is started in that folder as the image would: as its user, with its environment, where the
//     machine lets us in a root of its own (chroot) that it can't write to but for its data. It must become ready, and stop.
//   - make image-check takes the build's steps too, in a copy of what git has: minutes, and downloads if the cache is empty.
//
// What they can't show is that the base images are there, and what the engine makes of it.
package deploy
