# The SHA-256 of the file that an item names.
require_relative "forkmap_worker"
require "digest"

ForkmapWorker.serve { |path| Digest::SHA256.file(path).hexdigest }
