#!/bin/sh
# Make build/aarch64/python: Debian's Python for 64-bit ARM with the packages of requirements.txt, emulated on x86-64.
# It is kept while requirements.txt stays the same. If that fails, the last line of the output is the reason.
set -eu
cd "$(dirname "$0")/.."
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "this is not Linux on x86-64" >&2
    exit 1
fi
for command in qemu-aarch64 apt-get dpkg flock uv; do
    if ! command -v $command >/dev/null; then
        echo "$command is not installed (Debian: qemu-user, apt, dpkg, util-linux; uv: make test-emulated)" >&2
        exit 1
    fi
done
mkdir -p build/aarch64
cd build/aarch64
exec 9>lock
flock 9
sha256sum ../../requirements.txt >wanted
cmp --silent wanted made && exit
rm -rf made python root site apt
mkdir -p root apt/lists/partial apt/archives/partial
: >apt/status
apt() { # with its own lists, as on an ARM machine on which nothing is installed; apt checks what it downloads
    apt-get -qq -oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oAPT::Sandbox::User=root \
        -oDir::State::Lists="$PWD/apt/lists" -oDir::State::status="$PWD/apt/status" -oDir::Cache="$PWD/apt" "$@"
}
apt update
apt install --no-install-recommends --download-only --yes python3 libstdc++6 >/dev/null
for package in apt/archives/*.deb; do dpkg -x "$package" root; done
python=$(basename "$(readlink root/usr/bin/python3)")
uv pip install --quiet --system-certs --require-hashes --requirement ../../requirements.txt --target site \
    --python-version "${python#python}" --python-platform aarch64-manylinux_2_28
cat >python <<END
#!/bin/sh
unset PYTHONDONTWRITEBYTECODE # so that it compiles each module once only
export PYTHONHOME="$PWD/root/usr" PYTHONPATH="$PWD/site"
exec qemu-aarch64 -L "$PWD/root" "$PWD/root/usr/bin/$python" "\$@"
END
chmod +x python
rm -rf apt
mv wanted made
