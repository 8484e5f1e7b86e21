//! Safe writing: staged content becomes files, trees and tar streams, and never appears under a final name before it is
//! whole. It knows entries' metadata, not sources.
