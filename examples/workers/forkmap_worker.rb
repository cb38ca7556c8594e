# Serves the items of a CommandWorker of forkmap: ForkmapWorker.serve { |item| item.upcase }
# Items and what the block returns are values that JSON can represent, or bytes: strings with the encoding BINARY.
require "json"

module ForkmapWorker
  Throttled = Class.new(StandardError) # raise Throttled, 5 asks to send the item again after 5 s.
  Encoding.default_external = Encoding::UTF_8 # The encoding of items, whatever LANG says.
  # stdin and stdout are for the protocol only: other output goes to stderr, other readers get EOF.
  REQUESTS, ANSWERS = $stdin.dup, $stdout.dup
  $stdin.reopen(File::NULL)
  $stdout.reopen($stderr)
  $stdout.sync = ANSWERS.sync = true

  def self.serve(&handler)
    trap("TERM") { exit }
    REQUESTS.each_line.with_index do |line, number|
      answer = answer_to(line, "result-#{number}", &handler)
      ANSWERS.puts(JSON.generate({ id: line[/\d+/], **answer }, max_nesting: 0)) # The id comes first.
    end
  ensure
    trap("TERM") {} # SIGTERM must not interrupt the work at the end.
  end

  def self.content_of(file, type)
    type == "bytes" ? File.binread(file) : JSON.parse(File.read(file), max_nesting: false)
  end

  def self.answer_to(line, name)
    request = JSON.parse(line, max_nesting: false)
    file = request["item_file"]
    item = file ? content_of(file, request["item_type"]) : request["payload"]
    result = yield(item)
    is_bytes = result.is_a?(String) && result.encoding == Encoding::BINARY
    content = is_bytes ? result : JSON.generate(result, max_nesting: 0)
    return { status: "ok", result: result } if content.bytesize <= 64 * 1024 && !is_bytes
    File.binwrite(File.join(ENV.fetch("FORKMAP_SCRATCH"), name), content)
    { status: "ok", result_file: name, result_type: is_bytes ? "bytes" : "json" }
  rescue Throttled => e
    { status: "throttled", retry_after_secs: Float(e.message, exception: false) || 60 }
  rescue StandardError, ScriptError, SystemStackError => e
    utf8 = ->(text) { text.dup.force_encoding("UTF-8").scrub }
    { status: "error", message: utf8[e.message], class: e.class.to_s, stack: utf8[e.full_message] }
  end
end
