# mien as an image: docker build -t mien .   (with the models in it; --target bare leaves them out, to be mounted at /opt/mien/models)
#
#   docker run -p 127.0.0.1:8080:8080 -v mien:/data -e MIEN_INSECURE_LISTEN=true mien
#   docker run -p 127.0.0.1:5006:8080 …                                          another port, such as that of a vendor's image
#
# Beyond this machine give it a certificate: MIEN_TLS_CERT and MIEN_TLS_KEY. compose.yaml and cmd/deploy/kubernetes run it, and
# cmd/deploy/doc.go says what is checked of all of this.

FROM node:24-bookworm-slim AS node

FROM golang:1.26-bookworm AS build
# npm fetches ONNX Runtime and the models, which are pinned by sha256.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make setup build VERSION="$VERSION"
RUN mkdir -p image/program/opt/mien/models image/state/data && cp -r build/mien build/lib LICENSE image/program/opt/mien/

# bare has no models. The libraries that program and ONNX Runtime need are part of every Debian: libc, libstdc++, libgcc.
FROM debian:bookworm-slim AS bare
COPY --from=build /src/image/program/ /
COPY --from=build --chown=65532:65532 --chmod=700 /src/image/state/ /
ENV MIEN_DATA=/data MIEN_LISTEN=0.0.0.0:8080 MIEN_LOG_FORMAT=json
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/mien/mien"]
CMD ["serve"]

FROM bare AS mien
COPY --from=build /src/build/models/default/ /opt/mien/models/default/
